"""Layers whose operations read weights of their own are opened."""

import keras
import numpy as np
import pytest
from file_against_model import check_steps, compare
from keras import layers, ops
from random_data import randomize, values
from unrounded import unrounded

from keras_share import SharedStack, export_tflite, quantize_model
from keras_share.quantize import quantization_report

SHAPE = (4, 8)


class Gain(layers.Layer):
    """A scale, and a matrix between tables."""

    def build(self, shape):
        self.gain = self.add_weight(shape=shape[-1:], name="gain")
        self.matrix = self.add_weight(shape=(shape[-1],) * 2, name="matrix")

    def call(self, x):
        return ops.softplus(ops.matmul(x * self.gain, self.matrix))


class Outer(layers.Layer):
    """Has a layer, and a weight of its own beside it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(8)

    def build(self, shape):
        self.inner.build(shape)
        self.offset = self.add_weight(shape=shape[-1:], name="offset")

    def call(self, x):
        return ops.tanh(self.inner(x) + self.offset)


class Batched(Gain):
    """Asks for the size of the batch."""

    def call(self, x):
        return x + ops.broadcast_to(self.gain, ops.shape(x))


class Counting(Gain):
    """Assigns to its weight."""

    def call(self, x):
        self.gain.assign(self.gain + 1.0)
        return x * self.gain


class Asserting(Gain):
    """Takes the tensors of one backend alone."""

    def call(self, x):
        assert not isinstance(x, keras.KerasTensor), "a tensor of numbers is needed"
        return x * self.gain

    def compute_output_shape(self, shape):
        return shape


class Picking(layers.Layer):
    """Reads from places that are weights."""

    def build(self, shape):
        self.places = self.add_weight(
            name="places", shape=(3,), dtype="int32", initializer="ones"
        )

    def call(self, x):
        return ops.take(x, self.places, axis=-1)


def model_of(*parts):
    return randomize(keras.Sequential([keras.Input(SHAPE), *parts]))


@pytest.mark.parametrize(
    "make", [Gain, Outer, lambda: SharedStack(Gain(), "AAB", private=["gain"])]
)
def test_computes_what_the_layer_does(make):
    model, x = model_of(make()), values(4, *SHAPE)
    opened, _ = unrounded(model)
    np.testing.assert_allclose(opened(x), model(x), atol=1e-5)
    assert not quantization_report(model).float_layers


def test_file_has_the_numbers_of_the_model(tmp_path):
    x, path = values(32, *SHAPE), tmp_path / "m.tflite"
    quantized = quantize_model(model_of(Gain(), Outer(), layers.Dense(3)), x)
    trained = [v.path for v in quantized.trainable_weights]
    assert len(trained) == 2 + 3 + 2
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators
    check_steps(compare(quantized, path.read_bytes(), [x]))


@pytest.mark.parametrize(
    "kind, reason",
    [
        (Batched, "a size that is open"),
        (Counting, "it can't be opened"),
        (Asserting, "a tensor of numbers is needed"),
        (Picking, "there is no rule for Picking"),
    ],
)
def test_what_stays_closed(kind, reason):
    [row] = quantization_report(model_of(kind())).float_layers
    assert reason in row.reason


def test_a_layer_keeps_its_weights():
    model = model_of(Gain(name="own"))
    quantization_report(model)
    layer = model.get_layer("own")
    assert isinstance(layer.gain, keras.Variable)
    assert [v.name for v in layer.weights] == ["gain", "matrix"]
