"""What is never negative by the way in which it is computed."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_share.quantize import quantization_report
from keras_share.quantize.opening import open_model
from keras_share.quantize.signs import is_never_negative

NEVER = {
    "square": ops.square,
    "product": lambda x: ops.mean(x * x, axis=-1, keepdims=True) + 1e-3,
    "relu": lambda x: ops.reshape(ops.relu(x), (-1, 4)),
    "sums": lambda x: ops.sum(ops.abs(x) + ops.sigmoid(x), axis=1, keepdims=True) * 2.0,
    "maximum": lambda x: ops.maximum(x, 0.1),
}
PERHAPS = {
    "input": lambda x: x + 1.0,
    "difference": lambda x: ops.square(x) - 0.1,
    "offset": lambda x: ops.square(x) + np.float32([-1, 1, 1, 1]),
    "factor": lambda x: ops.relu(x) * x,
    "maximum": lambda x: ops.maximum(x, -1.0),
    "tanh": lambda x: ops.tanh(ops.relu(x)),
}


def model(function, end=lambda x: x):
    x = keras.Input((4,))
    return keras.Model(x, end(function(x)))


@pytest.mark.parametrize("name", NEVER)
def test_never_negative(name):
    graph = open_model(model(NEVER[name]))
    assert is_never_negative(graph, graph.outputs)
    assert not quantization_report(model(NEVER[name], ops.rsqrt)).float_layers


@pytest.mark.parametrize("name", PERHAPS)
def test_perhaps_negative(name):
    graph = open_model(model(PERHAPS[name]))
    assert not is_never_negative(graph, graph.outputs)
    left = quantization_report(model(PERHAPS[name], ops.rsqrt)).float_layers
    assert "may be negative" in left[-1].reason
