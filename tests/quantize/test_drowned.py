import warnings

import keras
import numpy as np
import pytest
from keras import layers
from random_data import randomize, values

from keras_share import quantize_model
from keras_share.quantize import FakeQuantize


def network(*more):
    parts = [keras.Input((4,), name="x"), *more, layers.Dense(2, name="y")]
    return randomize(keras.Sequential(parts))


def scaled(largest):
    """A model of inputs of which one is larger than the others, and samples."""
    x = values(40, 4) * np.float32([1, 1, largest, 1])
    normal = layers.Normalization()
    model = network(normal, layers.Dense(8, name="d"))
    normal.adapt(x)
    model.get_layer("d").kernel.assign(np.eye(4, 8) * np.c_[[1, 1, 0.1, 1]])
    return model, x


def test_inputs_of_several_scales():
    model, x = scaled(1e5)
    expected = (
        r"output 'y' of the quantized model: \d\.\d dB .* 32 samples\. Of the channels "
        "of 'x' 75% vary by less than a step .* scale before they enter"
    )
    with pytest.warns(UserWarning, match=expected):
        quantize_model(model, x)


@pytest.mark.parametrize(
    "way, largest", [("int8", 10), ("int16", 1e3), ("dynamic", 1e5)]
)
def test_what_the_integers_hold_is_not_told(way, largest):
    model, x = scaled(largest)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Rounding")
        quantize_model(model, x, quantization=way)


@keras.saving.register_keras_serializable(package="tests")
class Noise(layers.Layer):
    """Is other in each call, in inference as well."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), 0, 50, seed=self.seeds)

    def compute_output_shape(self, input_shape):
        return input_shape


def test_what_cannot_be_compared_is_not_told():
    x = values(8, 4)
    noisy, zero = network(Noise(name="noise")), network()
    zero.get_layer("y").set_weights([np.zeros((4, 2)), np.zeros(2)])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Rounding")
        quantize_model(zero, x)
        before = [np.asarray(v) for v in noisy.variables]
        quantize_model(noisy, x)
    for value, v in zip(before, noisy.variables, strict=True):
        np.testing.assert_array_equal(value, v)


def test_two_steps_of_an_output_are_no_fault():
    """As of scores that hardly differ beside a bias that one sample alone crosses."""
    model = network()
    model.get_layer("y").set_weights([np.eye(4, 2), np.zeros(2)])
    x = np.full((40, 4), 0.15, "float32")
    x[-1] = 100.0  # is seen in calibration, and not among those that are compared
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Rounding")
        quantize_model(model, x)


def test_weights_of_four_bits_count():
    model, x = network(), values(40, 4)
    kernel = np.full((4, 2), 0.01) * np.sign(values(4, 2))
    kernel[0], x[:, 0] = 1.0, 0.0
    model.get_layer("y").set_weights([kernel, np.zeros(2)])
    with pytest.warns(UserWarning, match="Rounding drowns"):
        quantize_model(model, x, quantization="int4")


def test_channels_that_are_constant_are_not_faint():
    layer = FakeQuantize()
    layer.build((None, 4))
    layer.start_observing()
    for x in ([[5.0, 100.0, 0.1, 7.0]], [[5.0, -100.0, 0.2, 9.0]]):
        layer(np.float32(x))
    layer.stop_observing()
    assert layer.faint == 0.25
