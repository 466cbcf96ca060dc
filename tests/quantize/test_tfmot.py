"""Our fake quantization against TFMOT's own, on a model that TFMOT accepts."""

import os
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from random_data import randomize, values

from keras_share import quantize_model
from keras_share.layers.sublayers import sublayers
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
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(values(4, 5), values(4, 3), verbose=0)
    assert layer.layer.kernel.dtype == "float32"


# TFMOT's own `quantize_model` on the same network in legacy Keras, in a process of its
# own, as it and Keras 3 don't go into one. The ranges are set, not learned: at
# inference TFMOT rounds kernels to the range of an earlier training step.
TFMOTS_MODEL = """
import sys
import numpy as np
import tf_keras
import tensorflow_model_optimization as tfmot

data = np.load(sys.argv[1])
layers = tf_keras.layers
model = tf_keras.Sequential([
    layers.InputLayer((6, 6, 3)),
    layers.Conv2D(4, 3, activation="relu"),
    layers.Conv2D(5, 3, strides=2, padding="same", activation="relu"),
    layers.Flatten(),
    layers.Dense(7, activation="relu"),
    layers.Dense(3),
])
model.set_weights([data[f"weight_{i}"] for i in range(len(model.weights))])
kernels = [w.numpy() for w in model.weights if "kernel" in w.name]
model = tfmot.quantization.keras.quantize_model(model)
ranges = iter(data["ranges"])
for layer in model.layers:
    found = {w.name.split("/")[-1].split(":")[0]: w for w in layer.weights}
    if "kernel_min" in found:
        kernel = np.abs(kernels.pop(0))
        per_channel = found["kernel_min"].shape.rank == 1
        largest = kernel.max((0, 1, 2)) if per_channel else kernel.max()
        found["kernel_min"].assign(-largest)
        found["kernel_max"].assign(largest)
    for name in ("quantize_layer", "post_activation"):
        if f"{name}_min" in found:
            low, high = next(ranges)
            found[f"{name}_min"].assign(low)
            found[f"{name}_max"].assign(high)
assert not kernels and not list(ranges)
np.save(sys.argv[2], model(data["x"], training=False).numpy())
"""


def test_model_equals_tfmots(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Conv2D(5, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(7, activation="relu"),
            layers.Dense(3),
        ]
    )
    randomize(model)
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            # TFMOT has one range for the kernel of a Dense layer, we have one for each
            # channel: the same, if the largest weights of the channels are equal.
            kernel = layer.kernel.numpy()
            layer.kernel.assign(kernel / np.abs(kernel).max(axis=0))
    x = values(64, 6, 6, 3)
    quantized = quantize_model(model, x)
    fakes = [part for part in sublayers(quantized) if isinstance(part, FakeQuantize)]
    ranges = np.array([[fake.min, fake.max] for fake in fakes])
    assert len(ranges) == 5  # the input, and the output of each layer with a kernel
    weights = {f"weight_{i}": w.numpy() for i, w in enumerate(model.weights)}
    np.savez(tmp_path / "data.npz", x=x, ranges=ranges, **weights)
    theirs = run_tfmot(tmp_path)
    ours = np.asarray(quantized(x, training=False))
    step = (ranges[-1, 1] - ranges[-1, 0]) / 255
    assert np.abs(ours - theirs).max() <= 1e-6 * step
    assert len(np.unique(ours)) > 50


def run_tfmot(folder):
    outputs = folder / "outputs.npy"
    done = subprocess.run(
        [sys.executable, "-c", TFMOTS_MODEL, folder / "data.npz", outputs],
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return np.load(outputs)
