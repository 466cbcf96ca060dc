"""Models as `quantize_model` writes them, in floating point."""

from typing import Any

import keras
import numpy as np
from keras import ops
from random_data import randomize

from keras_share.flat.flat_graph import FlatGraph
from keras_share.flat.rebuild import Rebuilder
from keras_share.layers.recurrent import Recurrent
from keras_share.quantize.opening import open_model


def unrounded(model: keras.Model) -> tuple[keras.Model, FlatGraph]:
    """A model whose layers are opened by their rules, and nothing rounded."""
    graph = open_model(model)
    builder = Rebuilder(graph)
    _run(builder)
    return builder.finish(), graph


def _run(builder: Rebuilder) -> None:
    for step in builder.graph:
        if step.body is None:
            builder.set(step.outputs, builder.call(step))
            continue
        inner = builder.nested(step.body)
        _run(inner)
        body = inner.model(inner.resolve(step.body.outputs))
        loop = Recurrent(body, **{**step.op.settings(), "name": step.name})
        builder.set(step.outputs, loop(*builder.resolve(step.args)))


def kinds(graph: FlatGraph) -> list[str]:
    """The classes of the steps of a graph."""
    return [type(step.op).__name__ for step in graph]


def outputs(model: keras.Model, x: Any) -> list[np.ndarray]:
    """The outputs of a model at inference, without the time that `predict` takes."""
    y = model(x, training=False)
    return [ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(y)]


def agrees(model: keras.Model, x: Any, tolerance: float = 1e-5) -> list[str]:
    """Asserts that the opened model returns what the model does; its steps."""
    model = randomize(model)
    opened, graph = unrounded(model)
    pairs = zip(outputs(opened, x), outputs(model, x), strict=True)
    for actual, expected in pairs:
        largest = np.abs(expected).max()
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * largest)
    return kinds(graph)
