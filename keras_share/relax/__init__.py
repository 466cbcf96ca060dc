"""Relaxations: small weights by which the uses of shared kernels differ."""

from keras_share.relax.affine import Affine, StepEmbedding
from keras_share.relax.basis import Basis
from keras_share.relax.kernel import Kernel, kernel_of
from keras_share.relax.low_rank import LowRank
from keras_share.relax.relaxation import Relaxation, Weight
from keras_share.relax.relaxed import Relaxed, relax_layer
from keras_share.relax.scale import Scale
from keras_share.relax.templates import Templates

__all__ = [
    "Affine",
    "Basis",
    "Kernel",
    "LowRank",
    "Relaxation",
    "Relaxed",
    "Scale",
    "StepEmbedding",
    "Templates",
    "Weight",
    "kernel_of",
    "relax_layer",
]
