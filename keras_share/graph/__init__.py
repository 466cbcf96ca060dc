"""Models as flat lists of steps: what quantization and export work on."""

from keras_share.graph.flat_graph import FlatGraph, Step
from keras_share.graph.flatten import flatten
from keras_share.graph.opened import LayerUse
from keras_share.graph.rebuild import Rebuilder

__all__ = ["FlatGraph", "LayerUse", "Rebuilder", "Step", "flatten"]
