"""Large numbers in place of what is masked, whoever reads it."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

from keras_share import export_tflite, predict_tflite, quantize_model

FILLED = {
    "max": lambda x, m: ops.max(ops.where(m > 0, x, -1e9), axis=1),
    "min": lambda x, m: ops.min(ops.where(m > 0, x, 1e9), axis=1),
    "infinity": lambda x, m: ops.max(ops.where(m > 0, x, -np.inf), axis=(1, 2)),
    "argmax": lambda x, m: ops.argmax(ops.where(m > 0, 4 * x, -1e9), axis=1),
}
ADDED = {
    "max": lambda x, m: ops.max(x + (1 - m) * -1e9, axis=1),
    "min": lambda x, m: ops.min((1 - m) * 1e4 + x, axis=1),
    "subtracted": lambda x, m: ops.max(x - (1 - m) * 1e4, axis=1),
}
FLOAT = {
    "sigmoid": lambda x, m: ops.sigmoid(ops.where(m > 0, x, -1e9)),
    "exp": lambda x, m: ops.exp(ops.expand_dims(ops.where(m > 0, x, -1e9), 1)),
    "output": lambda x, m: ops.where(m > 0, x, -1e9),
}


def masked(function, dtype):
    x, mask = keras.Input((6, 8)), keras.Input((6,), dtype=dtype)
    places = ops.expand_dims(mask, -1)
    if dtype != "float32" and function in ADDED.values():
        places = ops.cast(places, "float32")
    y = function(layers.Dense(8, activation="relu")(x), places)
    if len(y.shape) < 3 and "float" in y.dtype:
        y = layers.Dense(3)(y if len(y.shape) > 1 else ops.expand_dims(y, -1))
    model = randomize(keras.Model([x, mask], y))
    seen = np.random.default_rng(0).random((48, 6)) > 0.4
    seen[:, 0] = True
    return model, [values(48, 6, 8), seen.astype(dtype)]


def is_right(model, data, path):
    """The report of a file of which each number that isn't large is the model's."""
    quantized = quantize_model(model, data)
    report = export_tflite(quantized, path, representative_dataset=data)
    expected = np.asarray(model(data), "float64")
    for actual in (quantized(data), predict_tflite(path, data)):
        small = np.abs(expected) < 1e3
        noise = np.square(actual - expected, where=small, out=np.zeros_like(expected))
        signal = np.square(expected, where=small, out=np.zeros_like(expected))
        assert signal.sum() > 200 * noise.sum()
        np.testing.assert_allclose(np.asarray(actual)[~small], expected[~small])
    return report


@pytest.mark.parametrize("kind", FILLED)
def test_extremes_of_what_a_choice_hides_are_integers(kind, tmp_path):
    model, data = masked(FILLED[kind], "float32")
    if kind != "argmax":
        report = is_right(model, data, tmp_path / "m.tflite")
    else:  # which may take the neighbor of the largest
        quantized = quantize_model(model, data)
        assert (np.asarray(quantized(data)) == np.asarray(model(data))).mean() > 0.97
        report = export_tflite(
            quantized, tmp_path / "m.tflite", representative_dataset=data
        )
    assert not report.float_operators


@pytest.mark.parametrize("dtype", ["float32", "bool"])
@pytest.mark.parametrize("kind", ADDED)
def test_extremes_of_what_a_sum_hides(kind, dtype, tmp_path):
    model, data = masked(ADDED[kind], dtype)
    if dtype != "float32":  # one of two numbers
        assert not is_right(model, data, tmp_path / "m.tflite").float_operators
        return
    with pytest.warns(UserWarning, match="large numbers mask what it reads"):
        report = is_right(model, data, tmp_path / "m.tflite")
    assert report.float_operators


@pytest.mark.parametrize("kind", FLOAT)
def test_what_integers_would_lose_stays_float(kind, tmp_path):
    model, data = masked(FLOAT[kind], "float32")
    with pytest.warns(UserWarning, match="large numbers mask what it reads"):
        report = is_right(model, data, tmp_path / "m.tflite")
    products = [x.dtype for x in report.operators if x.name == "FULLY_CONNECTED"]
    assert products and set(products) == {"int8"}
