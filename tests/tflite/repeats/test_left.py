"""Why kernels are still packed several times, and what to do about it."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

from keras_share import SharedStack, export_tflite, quantize_model, roll
from keras_share.export import inference
from keras_share.tflite import predict_tflite

LEVELS = ((4, 4, 8), (2, 2, 8))  # of a pyramid


def export(model, path, **kwargs):
    export_tflite(model, path, target="accelerator", **kwargs)
    return path.read_bytes()


def test_says_that_scales_differ(tmp_path):
    stack = SharedStack(layers.Dense(8, "relu"), "AA")
    model = randomize(keras.Sequential([keras.Input((8,)), stack, layers.Dense(3)]))
    quantized = quantize_model(model, values(16, 8))  # a range for each use
    [left] = roll(export(quantized, tmp_path / "model.tflite")).left
    assert left.packed == 2
    assert "whose ranges differ (scale" in left.reason
    assert "ranges='group'" in left.reason


def test_says_that_kernels_were_folded(tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "activation_would_fold", lambda graph, step: False)
    x = keras.Input((12,))
    dense = layers.Dense(12, lambda x: ops.relu(x) * values(12))
    model = randomize(keras.Model(x, dense(dense(x))))
    [left] = roll(export(model, tmp_path / "model.tflite", strict=False)).left
    assert left.packed == 2
    assert "differ by a factor per channel" in left.reason


def heads(head, join):
    """A head over inputs of two sizes, also as the report says to call it."""
    inputs = [keras.Input(shape) for shape in LEVELS]
    if not join:
        return randomize(keras.Model(inputs, [head(x) for x in inputs]))
    rows = [
        ops.reshape(x, (-1, h * w, c))
        for x, (h, w, c) in zip(inputs, LEVELS, strict=False)
    ]
    joined = ops.concatenate(rows, axis=1)
    outputs = ops.split(head(ops.expand_dims(joined, 1)), [16], axis=2)
    shapes = [(-1, *shape[:2], 6) for shape in LEVELS]
    outputs = [ops.reshape(y, shape) for y, shape in zip(outputs, shapes, strict=True)]
    return randomize(keras.Model(inputs, outputs))


@pytest.mark.parametrize(
    "make", [lambda: layers.Dense(6), lambda: layers.Conv2D(6, 1, activation="relu")]
)
def test_heads_over_several_sizes_can_be_joined(make, tmp_path):
    apart, joined = (heads(make(), join) for join in (False, True))
    path = tmp_path / "model.tflite"
    [left] = roll(export(apart, path)).left
    assert left.packed == 2
    assert "which have the shapes" in left.reason
    assert "computes each position alone: reshape" in left.reason
    rolled = roll(export(joined, path))
    assert not rolled.left and not rolled.bodies
    x = [values(2, *shape) for shape in LEVELS]
    for one, other in zip(apart(x), predict_tflite(path, x).values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("kernel, strides", [(3, 1), (1, 2)])
def test_other_convolutions_can_not(kernel, strides, tmp_path):
    head = layers.Conv2D(6, kernel, strides, padding="same")
    [left] = roll(export(heads(head, join=False), tmp_path / "model.tflite")).left
    assert "which have the shapes" in left.reason
    assert "each position alone" not in left.reason
