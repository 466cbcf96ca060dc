"""Models that TensorFlow can't convert, or that are no models to convert."""

import os
import threading

import keras
import numpy as np
import pytest
from keras import layers
from older_keras import newer_only
from random_data import randomize, values

from keras_share import export_tflite, quantize_model
from keras_share.export.conversion_error import explained


def transformed():
    x = keras.Input((6,))
    return keras.Model(x, keras.ops.fft((x, x))[0], name="fourier")


def of_open_size(upsampling):
    last = layers.Conv2D(2, 3, padding="same", name="last")
    inputs = keras.Input((None, None, 3), name="x")
    return keras.Sequential([inputs, upsampling, last])


@pytest.mark.parametrize(
    "make, message",
    [
        (
            transformed,
            r"can't write the model 'fourier': TFLite has no operator for Complex, FFT "
            r"as it stands here\. Write this part with other operations",
        ),
    ],
)
def test_a_sentence_comes_first(make, message, tmp_path, capfd):
    with pytest.raises(ValueError, match=message) as caught:
        export_tflite(make(), tmp_path / "model.tflite")
    assert "FFT" in str(caught.value) and "FFT" not in capfd.readouterr().err
    assert caught.value.__cause__ is not None
    assert str(caught.value.__cause__) in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_what_is_printed_meanwhile_comes_afterwards(capfd):
    def printed(line):
        os.write(2, line.encode() + b"\n")

    def another():
        with explained(model):
            printed("from a second conversion")

    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="no such operator"), explained(model):
        printed('loc("a"): error: no such operator')
        printed("of another thread")
        thread = threading.Thread(target=another)
        thread.start()
        thread.join()
        raise RuntimeError('error: loc("a"): no such operator')
    with explained(model):
        printed('loc("a"): warning: slow')
    printed("the end")
    assert capfd.readouterr().err.splitlines() == [
        *("of another thread", "from a second conversion"),
        *('loc("a"): warning: slow', "the end"),
    ]


@newer_only
def test_sizes_that_operators_must_know_are_fixed(tmp_path):
    model = of_open_size(layers.UpSampling2D(interpolation="bilinear"))
    message = r"inputs of these sizes only: \{'x': \(32, 32, 3\)\}.* must know them"
    with pytest.warns(UserWarning, match=message):
        export_tflite(model, tmp_path / "m.tflite")
    message = r"inputs of these sizes only: \{'x': \(8, 6, 3\)\}.*pass a `repr"
    with pytest.warns(UserWarning, match=message):
        report = export_tflite(
            model, tmp_path / "m.tflite", representative_dataset=values(2, 8, 6, 3)
        )
    assert report.agreement[0].samples == 2


def test_what_the_converter_takes_for_an_operator_of_ones_own(tmp_path):
    x = keras.Input((6,))
    model = keras.Model(
        x, layers.Dense(2)(keras.ops.cumprod(layers.Dense(6)(x), axis=-1))
    )
    with pytest.warns(UserWarning, match="'cumprod'"):
        quantized = quantize_model(model, values(8, 6))
    with pytest.raises(ValueError, match="TFLite has no operator for Cumprod"):
        export_tflite(quantized, tmp_path / "m.tflite")
    assert os.listdir(tmp_path) == []


def test_what_the_converter_stops_at(tmp_path):
    x = keras.Input((10, 6))
    y = layers.Conv1D(6, 3, padding="same")(x) + np.ones((10, 1), "float32")
    with pytest.raises(ValueError, match=r"it stops at tf\.Transpose: x should be of"):
        export_tflite(keras.Model(x, y), tmp_path / "m.tflite")


def test_text_is_no_input():
    x = keras.Input((), dtype="string", name="words")
    model = keras.Model(x, layers.Hashing(4)(x))
    message = "must take numbers.*the input 'words' of dtype string"
    for make in (quantize_model, lambda model: export_tflite(model, "unwritten")):
        with pytest.raises(ValueError, match=message):
            make(model)


def test_models_that_keras_changed(tmp_path):
    stages = [layers.Dense(4, name="first"), layers.Dense(4)]
    model = randomize(keras.Sequential([keras.Input((4,)), *stages]))
    model.get_layer("first").quantize("int8")
    message = "the layer 'first', of which Keras's own `quantize` left int8 weights"
    for make in (quantize_model, lambda model: export_tflite(model, "unwritten")):
        with pytest.raises(ValueError, match=message):
            make(model)


def test_low_rank_adaptation_is_merged(tmp_path):
    def plain():
        return keras.Sequential([keras.Input((4,)), layers.Dense(4, name="dense")])

    model = plain()
    model.get_layer("dense").enable_lora(2)
    export_tflite(randomize(model), tmp_path / "model.tflite")
    with pytest.raises(ValueError, match="'dense', to whose kernel LoRA adds two more"):
        quantize_model(model)
    model.save_weights(tmp_path / "merged.weights.h5")
    merged = plain()
    merged.load_weights(tmp_path / "merged.weights.h5")
    x = values(8, 4)
    assert abs(merged(x) - model(x)).numpy().max() < 1e-6
    quantize_model(merged, x)
