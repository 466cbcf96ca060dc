"""Our fake quantization against TFMOT's own, on a model that TFMOT accepts."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from random_data import values

from keras_share.quantize import FakeQuantize, QuantizeWeights
from keras_share.quantize.tfmot import quantizers


def test_activations_equal_tfmots():
    layer = FakeQuantize()
    x = tf.constant(values(4, 8))
    layer(x)
    ours = [layer(x, training=training) for training in (True, True, False)]
    quantizer = quantizers().MovingAverageQuantizer(8, False, False, False)
    weights = {"min_var": tf.Variable(-6.0), "max_var": tf.Variable(6.0)}
    theirs = [quantizer(x, training, weights) for training in (True, True, False)]
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(layer.min, weights["min_var"])


def test_weights_equal_tfmots():
    layer = QuantizeWeights(layers.Dense(3))
    layer.build((None, 5))
    quantizer = quantizers().LastValueQuantizer(8, True, True, True)
    weights = {"min_var": tf.Variable([0.0] * 3), "max_var": tf.Variable([0.0] * 3)}
    theirs = quantizer(layer.layer.kernel.value, True, weights)
    np.testing.assert_array_equal(layer.quantized("kernel"), theirs)


def test_kernels_are_rounded_per_output_channel():
    cases = [
        (layers.Dense(3), (None, 5), 0),
        (layers.Conv2D(3, 2), (None, 5, 5, 4), (0, 1, 2)),
        (layers.Conv1D(3, 2), (None, 5, 4), (0, 1)),
        (layers.DepthwiseConv2D(2, depth_multiplier=2), (None, 5, 5, 4), (0, 1)),
        (layers.DepthwiseConv1D(2), (None, 5, 4), 0),
        (layers.EinsumDense("ab,bcd->acd", (3, 2)), (None, 5), 0),
        (layers.EinsumDense("abc,bcd->ad", (3,)), (None, 5, 4), (0, 1)),
        (layers.EinsumDense("ab,cb->ac", (3,)), (None, 5), None),  # per tensor
    ]
    for inner, shape, axes in cases:
        layer = QuantizeWeights(inner)
        layer.build(shape)
        kernel = values(*layer.layer.kernel.shape)
        layer.layer.kernel.assign(kernel)
        scale = np.abs(kernel).max(axis=axes, keepdims=True) / 127
        expected = np.round(kernel / scale) * scale
        np.testing.assert_allclose(
            layer.quantized("kernel"), expected, rtol=1e-5, atol=1e-6
        )


def test_follows_the_weights_at_inference():
    layer = QuantizeWeights(layers.Dense(3, use_bias=False))
    x = values(2, 5)
    layer(x)
    layer.layer.kernel.assign(values(5, 3) * 10)
    expected = x @ np.asarray(layer.quantized("kernel"))
    np.testing.assert_allclose(layer(x, training=False), expected, rtol=1e-5)


def test_config_round_trip():
    layer = QuantizeWeights(layers.Dense(3, activation="relu"), num_bits=4, name="q")
    copy = QuantizeWeights.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    layer = FakeQuantize(num_bits=4, name="f")
    assert FakeQuantize.from_config(layer.get_config()).get_config() == (
        layer.get_config()
    )


def test_mixed_precision():
    layer = QuantizeWeights(layers.Dense(3, dtype="mixed_bfloat16"))
    assert layer(values(2, 5)).dtype == "bfloat16"
    model = keras.Sequential([keras.Input((5,)), layer])
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(values(4, 5), values(4, 3), verbose=0)
    assert layer.layer.kernel.dtype == "float32"
