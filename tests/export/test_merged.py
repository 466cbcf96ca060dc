"""Of what the converter would merge, each has its own range in the file."""

import keras
import numpy as np
import pytest
from file_against_model import check_steps, compare
from keras import layers, ops
from older_keras import newer_only
from random_data import values

from keras_share import export_tflite, predict_tflite, quantize_model


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("cast", [True, False])
def test_equal_kernels_whose_outputs_have_other_ranges(cast, tmp_path):
    """As in untrained attention: the converter would make one product of both."""
    x = keras.Input((6, 4))
    y = ops.reshape(layers.Dense(4)(x), (-1, 4, 6))
    y = ops.cast(y, "float32") if cast else y
    start = keras.initializers.RandomNormal(seed=1)
    key, value = (layers.Dense(4, kernel_initializer=start, name=n) for n in "kv")
    model = keras.Model(x, [key(y), ops.concatenate([value(y), x[:, :4] * 3], 1)])
    samples = values(32, 6, 4)
    quantized, path = quantize_model(model, samples, strict=True), tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=samples)
    assert not report.float_operators
    for found in compare(quantized, path.read_bytes(), [samples]):
        assert found.steps.max() < 2.01


class Scaled(keras.layers.Layer):
    """A scale and an offset as a model has them before it is trained."""

    def build(self, shape):
        self.scale = self.add_weight(shape=shape[-1:], initializer="ones")
        self.offset = self.add_weight(shape=(), initializer="zeros")

    def call(self, x):
        return x * self.scale + self.offset


@pytest.mark.parametrize(
    "unchanged",
    [Scaled(), lambda x: x * 1.0, lambda x: x + 0.0, lambda x: x / ops.ones((1, 1, 8))],
)
def test_what_changes_nothing_but_the_range(unchanged, tmp_path):
    """The halves of a split must have the range of what is split."""
    x, samples = keras.Input((6, 4)), values(32, 6, 4)
    one, other = ops.split(unchanged(layers.Dense(8)(x)), 2, axis=-1)
    y = ops.concatenate([one, 0.0 - other, 3.0 * x], -1)
    model = keras.Model(x, layers.Dense(3)(y))
    quantized, path = quantize_model(model, samples, strict=True), tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=samples)
    assert not report.float_operators
    assert all(found.steps < 2.01 for found in report.agreement)


def test_sums_in_a_batch_of_one_are_sums(tmp_path):
    """Keras takes a tensor with one axis longer than 1 for a bias, of any axis."""
    x, samples = keras.Input((8, 8)), values(16, 8, 8)
    means = [ops.mean(x, axis, keepdims=True) for axis in (1, 2)]
    y = x + means[1]
    model = keras.Model(x, [y, layers.Add()([y, *means])])
    export_tflite(model, tmp_path / "m.tflite", representative_dataset=samples)
    found = predict_tflite(tmp_path / "m.tflite", samples).values()
    for right, of_file in zip(model(samples), found, strict=True):
        np.testing.assert_allclose(of_file, right, atol=1e-5)


@newer_only
def test_a_block_of_one_channel(tmp_path):
    """A transformer of a time series: normalizations of single numbers."""
    x, samples = keras.Input((12, 1)), values(16, 12, 1)
    y = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(x, x)) + x
    z = layers.Conv1D(1, 1)(layers.Conv1D(4, 1, activation="relu")(y))
    model = keras.Model(x, layers.LayerNormalization()(z) + y)
    quantized, path = quantize_model(model, samples, strict=True), tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=samples)
    assert not report.float_operators
    assert all(found.ratio > 25 for found in report.agreement)


MOVES = {
    "crop": lambda x: x[:, 1:, 1:],
    "pad": layers.ZeroPadding2D(1),
    "split": lambda x: ops.split(x, 2, axis=1)[0],
    "transpose": layers.Permute((2, 1, 3)),
}


@pytest.mark.parametrize("then", ["crop", "pad"])
@pytest.mark.parametrize("first", MOVES)
def test_what_was_moved_is_averaged_and_read_elsewhere(first, then, tmp_path):
    """The converter would take its range from the average alone."""
    x, samples = keras.Input((6, 6, 4)), values(16, 6, 6, 4)
    moved = MOVES[first](layers.Conv2D(4, 3)(x))
    averaged = layers.AveragePooling2D(2, 1, "same")(moved)
    outputs = [y + layers.Conv2D(4, 1)(y) for y in (averaged, MOVES[then](moved))]
    quantized = quantize_model(keras.Model(x, outputs), samples, strict=True)
    report = export_tflite(
        quantized, tmp_path / "m.tflite", representative_dataset=samples
    )
    assert not report.float_operators
    assert all(found.ratio > 30 for found in report.agreement)


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-1.0, 0.5), (0.0, 6.0)])
def test_limits_are_as_fine_as_what_they_leave(limits, tmp_path):
    """The converter rounds them as it rounds what is cut off."""
    x, samples = keras.Input((8,)), values(64, 8)
    wide = layers.Dense(8, kernel_initializer=keras.initializers.RandomNormal(0, 10))
    model = keras.Model(x, ops.clip(wide(x) + x, *limits))
    quantized, path = quantize_model(model, samples), tmp_path / "m.tflite"
    export_tflite(quantized, path, representative_dataset=samples)
    check_steps(compare(quantized, path.read_bytes(), [samples]))
