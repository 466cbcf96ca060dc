"""Models as `quantize_model` writes them, in floating point."""

import keras

from keras_share.flat.flat_graph import FlatGraph
from keras_share.flat.rebuild import Rebuilder
from keras_share.quantize.opening import open_model


def unrounded(model: keras.Model) -> tuple[keras.Model, FlatGraph]:
    """A model whose layers are opened by their rules, and nothing rounded."""
    graph = open_model(model)
    builder = Rebuilder(graph)
    for step in graph:
        builder.set(step.outputs, builder.call(step))
    return builder.finish(), graph


def kinds(graph: FlatGraph) -> list[str]:
    """The classes of the steps of a graph."""
    return [type(step.op).__name__ for step in graph]
