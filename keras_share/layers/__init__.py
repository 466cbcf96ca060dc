"""Layers that reuse one set of weights, and what makes their uses differ."""

import keras  # noqa: F401 (first, see keras_share.registered)

from keras_share.layers.embeddings import FactorizedEmbedding
from keras_share.layers.past_frames import PastFrames
from keras_share.layers.relax.affine import Affine, StepEmbedding
from keras_share.layers.relax.basis import Basis
from keras_share.layers.relax.kernel import Kernel, kernel_of
from keras_share.layers.relax.low_rank import LowRank
from keras_share.layers.relax.relaxation import Relaxation, Weight
from keras_share.layers.relax.relaxed import Relaxed, relax_layer
from keras_share.layers.relax.scale import Scale
from keras_share.layers.relax.templates import Templates
from keras_share.layers.shared_stack import SharedStack
from keras_share.layers.tied import Tied
from keras_share.layers.tied_cloner import TiedCloner
from keras_share.layers.transposed import Transposed

__all__ = [
    "Affine",
    "Basis",
    "FactorizedEmbedding",
    "Kernel",
    "LowRank",
    "PastFrames",
    "Relaxation",
    "Relaxed",
    "Scale",
    "SharedStack",
    "StepEmbedding",
    "Templates",
    "Tied",
    "TiedCloner",
    "Transposed",
    "Weight",
    "kernel_of",
    "relax_layer",
]
