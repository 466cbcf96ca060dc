"""What computes each number alone is looked up in a table of 256 integers."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from file_against_model import check_steps, compare
from keras import layers, ops
from random_data import randomize, values

from keras_share import export_tflite, quantize_model
from keras_share.quantize import quantization_report

SHAPE = (3, 4)


class Mish(layers.Layer):
    def call(self, x):
        return x * ops.tanh(ops.softplus(x))


@keras.saving.register_keras_serializable("tests")
def of_tensorflow(x):
    return tf.nn.elu(x) + tf.math.sin(x)


LOOKED_UP = {
    "elu": layers.ELU(),
    "mish": Mish(),
    "tensorflow": layers.Activation(of_tensorflow),
    "lambda": layers.Lambda(lambda x: ops.log(x * x + 0.1)),
    "squareplus": layers.Activation("squareplus"),
    "where": layers.Lambda(lambda x: ops.where(x > 0, x, ops.expm1(x))),
    "quotient": layers.Lambda(lambda x: 1.0 / (1.0 + ops.exp(-x))),
    "of a square": layers.Lambda(lambda x: ops.log1p(x * x)),
    "power": layers.Lambda(lambda x: ops.power(x, 3.0)),
}


def model_of(*parts):
    return randomize(keras.Sequential([keras.Input(SHAPE), layers.Dense(4), *parts]))


def kinds(model):
    return [row.kind for row in quantization_report(model).rows][1:]


@pytest.mark.parametrize("name", LOOKED_UP)
def test_is_one_look_up(name):
    assert kinds(model_of(LOOKED_UP[name])) == ["LookUp"]


def of_width(x):
    return tf.math.sin(x) * tf.cast(tf.shape(x)[-1], "float32")


FITS_NO_OTHER_SHAPE = {
    "reshape": layers.Reshape(SHAPE),
    "operation": layers.Lambda(lambda x: ops.reshape(x, (-1, *SHAPE)) * 2),
    "array": layers.Lambda(lambda x: x * np.full(SHAPE, 2.0, "float32")),
}


@pytest.mark.parametrize("name", FITS_NO_OTHER_SHAPE)
def test_what_fits_no_other_shape_is_left_out(name):
    part = FITS_NO_OTHER_SHAPE[name]
    assert "LookUp" in kinds(model_of(part, layers.ELU()))


def test_what_depends_on_the_shape_is_no_look_up():
    with pytest.warns(UserWarning, match="stay in floating point"):
        quantized = quantize_model(model_of(layers.Lambda(of_width)), values(8, *SHAPE))
    assert all(row.kind != "LookUp" for row in quantization_report(quantized).rows)


def test_files_have_the_numbers_of_the_model(tmp_path):
    x = keras.Input(SHAPE)
    outputs = [layers.Dense(3)(part(layers.Dense(4)(x))) for part in LOOKED_UP.values()]
    model = randomize(keras.Model(x, outputs))
    samples = values(64, *SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        quantized = quantize_model(model, samples)
    path = tmp_path / "m.tflite"
    report = export_tflite(
        quantized, path, representative_dataset=samples, target="micro"
    )
    assert not report.float_operators
    assert sum(op.count for op in report.operators if op.name == "GATHER") == 9
    check_steps(compare(quantized, path.read_bytes(), [samples]))
    assert min(found.ratio for found in report.agreement) > 40


def test_an_activation_of_a_loop_is_looked_up(tmp_path):
    model = randomize(
        keras.Sequential([keras.Input((5, 4)), layers.SimpleRNN(3, activation="elu")])
    )
    x = values(32, 5, 4)
    quantized = quantize_model(model, x)
    report = export_tflite(quantized, tmp_path / "m.tflite", representative_dataset=x)
    assert not report.float_operators


@pytest.mark.parametrize(
    "function, reason",
    [
        (ops.log, "no rule for Log"),  # not finite at zero
        (lambda x: ops.reciprocal(ops.abs(x) + 0.01), "no rule for Reciprocal"),
        (lambda x: ops.cumsum(x, axis=-1), "no rule for Cumsum"),
        (lambda x: x - ops.sort(x), "no rule for Sort"),
    ],
    ids=["log", "reciprocal", "cumsum", "sort"],
)
def test_what_stays(function, reason):
    report = quantization_report(model_of(layers.Lambda(function)))
    assert reason in str(report)
    assert "LookUp" not in [row.kind for row in report.rows]


def test_what_floats_read_is_not_rounded():
    x, y = keras.Input(SHAPE), keras.Input(SHAPE)
    model = keras.Model([x, y], x / ops.softplus(y))
    rows = quantization_report(model).float_layers
    assert [row.kind for row in rows] == ["Softplus", "TrueDivide"]


def test_a_function_of_several_tensors_is_none():
    x, y = keras.Input(SHAPE), keras.Input(SHAPE)
    model = keras.Model([x, y], ops.softplus(x) * ops.softplus(y))
    assert [row.kind for row in quantization_report(model).rows] == [
        *("LookUp", "LookUp", "Multiply")
    ]


def test_constants_along_an_axis_are_part_of_none():
    scale = np.arange(1.0, 5.0, dtype="float32")
    model = model_of(layers.Lambda(lambda x: ops.softplus(x * scale)))
    assert kinds(model) == ["Multiply", "LookUp"]


def test_what_is_skipped_stays():
    model = model_of(layers.ELU(name="odd"))
    [row] = quantization_report(model, skip=["odd"]).float_layers
    assert row.kind == "Elu"


def test_trains_saves_and_loads(tmp_path):
    x = values(32, *SHAPE)
    quantized = quantize_model(model_of(layers.Activation("mish")), x)
    quantized.compile("sgd", "mse", jit_compile=False)
    quantized.fit(x, values(32, *SHAPE, seed=1), verbose=0)
    quantized.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert np.array_equal(loaded(x), quantized(x))


def test_16_bits_have_no_table():
    report = quantization_report(model_of(layers.ELU()), quantization="int16")
    assert [row.kind for row in report.float_layers] == ["Elu"]
