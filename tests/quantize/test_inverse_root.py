import keras
import numpy as np
import pytest
import tensorflow as tf
from file_against_model import compare
from keras import layers, ops
from random_data import values

from keras_share import export_tflite
from keras_share.quantize import quantization_report, quantize_model
from keras_share.quantize.inverse_root import InverseRoot
from keras_share.tflite.runtimes.agreement import agreement_of


def test_is_the_inverse_of_the_root():
    layer = InverseRoot(1e-3)
    x = np.array([[0.25, 4.0]], "float32")
    for training in (True, False):
        np.testing.assert_allclose(layer(x, training=training), [[2.0, 0.5]], rtol=1e-6)
    copy = InverseRoot.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()


def test_a_variance_that_is_rounded_to_zero_has_a_finite_gradient():
    # One token is a thousand times as large as the others, whose variance is less
    # than half a step of the range.
    x = values(4, 6, 8)
    x[:, 0] *= 1000
    stages = [layers.Dense(8), layers.LayerNormalization(), layers.Dense(3)]
    model = keras.Sequential([keras.Input((6, 8)), *stages])
    quantized = quantize_model(model, representative_dataset=x, strict=True)
    weights = [v.value for v in quantized.trainable_variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(quantized(x, training=True) ** 2)
    for gradient in tape.gradient(loss, weights):
        assert np.isfinite(gradient).all()


def mean_square(x):
    return ops.mean(ops.square(x), -1, keepdims=True)


def by_moments(x):
    mean, variance = ops.moments(x, -1, keepdims=True)
    return (x - mean) / ops.sqrt(variance + 1e-3)


def by_two(x):
    root = ops.sqrt(mean_square(x) + 1e-2)
    return (x / root) * (1 / root)


def root_too(x):
    root = ops.sqrt(ops.abs(x) + 1.0)
    return [x / root, root]


NORMALIZATIONS = {
    "rsqrt": lambda x: x * ops.rsqrt(mean_square(x) + 1e-5),
    "reciprocal": lambda x: x * ops.reciprocal(ops.sqrt(mean_square(x) + 1e-5)),
    "one_over": lambda x: (1 / ops.sqrt(mean_square(x) + 1e-5)) * x,
    "divide": lambda x: x / ops.sqrt(1e-5 + mean_square(x)),
    "var": lambda x: x / ops.sqrt(ops.var(x, -1, keepdims=True) + 1e-3),
    "moments": by_moments,
    "maximum": lambda x: x / ops.sqrt(ops.maximum(ops.sum(x * x, 2, True), 1e-6)),
    "norm": lambda x: x / ops.norm(x, axis=-1, keepdims=True),
    "twice": by_two,
}


def test_normalizations_that_somebody_wrote_are_integers(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 8))
    made = [make(layers.Dense(8)(inputs)) for make in NORMALIZATIONS.values()]
    outputs = [layers.Dense(3)(y) for y in made]
    model, x = keras.Model(inputs, outputs), values(64, 6, 8)
    quantized, path = quantize_model(model, x, strict=True), tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators
    for found in compare(quantized, path.read_bytes(), [x]):
        assert np.quantile(found.steps, 0.99) < 1.01  # roots make much of a step
        assert found.steps.max() < 4.01
    pairs = [np.asarray(m(x)) for m in (model, quantized)]
    for name, right, rounded in zip(NORMALIZATIONS, *pairs, strict=True):
        assert agreement_of(name, right, rounded).ratio > 25, name


def test_training_keeps_from_zero_by_what_was_added():
    inputs = keras.Input((8,))
    y = inputs / ops.sqrt(ops.mean(inputs * inputs, -1, keepdims=True) + 0.25)
    quantized = quantize_model(keras.Model(inputs, y), values(8, 8))
    [root] = [x for x in quantized.layers if isinstance(x, InverseRoot)]
    assert root.epsilon == 0.25


@pytest.mark.parametrize(
    "make",
    [
        root_too,
        lambda x: x / ops.sqrt(x + 9.0),  # below -9 it is NaN, which integers can't be
        lambda x: ops.sqrt(mean_square(x) + 1.0) / (ops.abs(x) + 1.0),
        lambda x: x - ops.sqrt(mean_square(x) + 1.0),
    ],
)
def test_other_roots_are_as_before(make):
    inputs = keras.Input((6, 8))
    rows = quantization_report(keras.Model(inputs, make(inputs))).rows
    assert not [row for row in rows if row.kind == "InverseRoot"]
