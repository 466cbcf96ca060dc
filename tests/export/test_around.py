"""Layers around a quantized model: floating, but where TFLite fixes the range."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

import keras_share as ks

SAMPLES = values(32, 8)


@pytest.fixture(scope="module")
def core():
    dense = [layers.Dense(8, "relu"), layers.Dense(6)]
    model = randomize(keras.Sequential([keras.Input((8,)), *dense], name="core"))
    return ks.quantize_model(model, SAMPLES)


def around(function):
    inputs = keras.Input((8,))
    return randomize(keras.Model(inputs, function(inputs)))


FLOATING = {
    "before": (lambda x, core: core(layers.Rescaling(0.5)(x)), ["MUL"]),
    "behind": (lambda x, core: layers.Dense(2)(core(x)), ["FULLY_CONNECTED"]),
    "beside": (
        lambda x, core: layers.Concatenate()([core(x), layers.Dense(2)(x)]),
        ["CONCATENATION", "FULLY_CONNECTED"],
    ),
    "between": (lambda x, core: core(x) + core(x * 0.5), ["ADD", "MUL"]),
}


@pytest.mark.parametrize("name", FLOATING)
def test_what_is_around_stays_floating(name, core, tmp_path):
    function, operators = FLOATING[name]
    kept = core.get_weights()
    model = around(lambda x: function(x, core))
    core.set_weights(kept)
    ks.export_tflite(model, tmp_path / "model.tflite")
    report = ks.audit(tmp_path / "model.tflite")
    assert sorted(report.float_operators) == operators
    y = ks.predict_tflite(tmp_path / "model.tflite", SAMPLES)
    off = np.abs(y - model.predict(SAMPLES))
    # A half may be rounded up by one and down by the other, by one step.
    assert np.mean(off > 1e-5) < 0.02 and off.max() < 0.03


@pytest.mark.parametrize(
    "function",
    [layers.Softmax(), layers.Activation("sigmoid"), ops.tanh],
    ids=["softmax", "sigmoid", "tanh"],
)
def test_fixed_ranges_are_integers(function, core, tmp_path):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, function(core(inputs)))
    report = ks.export_tflite(model, tmp_path / "model.tflite", target="accelerator")
    assert not report.float_operators
    y = ks.predict_tflite(tmp_path / "model.tflite", SAMPLES)
    np.testing.assert_allclose(y, model.predict(SAMPLES), atol=1.5 / 128)
