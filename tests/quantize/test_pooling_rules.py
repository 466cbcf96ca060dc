"""Poolings are written with those that TFLite has, and compute the same."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops
from older_keras import marked, newer_only
from random_data import values
from unrounded import agrees

import keras_share as ks
from keras_share.quantize import quantization_report

IMAGE, VOLUME = (6, 6, 8), (5, 6, 7, 3)
ADAPTIVE = {
    "AveragePool": lambda: layers.AdaptiveAveragePooling2D((3, 2)),
    "MaxPool": lambda: layers.AdaptiveMaxPooling2D(3),
}


def pooled(shape, *pools):
    return keras.Sequential([keras.Input(shape), *pools])


@newer_only
@pytest.mark.parametrize("kind", ADAPTIVE)
def test_pooling_to_sizes_that_divide_is_a_pooling(kind):
    model = pooled(IMAGE, ADAPTIVE[kind]())
    assert agrees(model, values(4, *IMAGE)) == [kind]


@newer_only
def test_pooling_to_sizes_that_do_not_divide_stays():
    model = pooled(IMAGE, layers.AdaptiveAveragePooling2D(4))
    [row] = quantization_report(model).float_layers
    assert "no multiples" in row.reason


@pytest.mark.parametrize(
    "kind, padding, size, strides",
    itertools.product(
        [layers.AveragePooling3D, layers.MaxPooling3D],
        ["valid", "same"],
        [2, (3, 2, 1)],
        [None, (1, 3, 2)],
    ),
)
def test_volumes_are_pooled_by_axes(kind, padding, size, strides):
    model = pooled(VOLUME, kind(size, strides, padding))
    steps = agrees(model, values(4, *VOLUME))
    [pool] = {step for step in steps if step.endswith("Pool")}
    assert steps == ["Reshape", pool, "Reshape", pool, "Reshape"]


VOLUMES = {
    "layer": lambda: layers.AveragePooling3D(2, padding="same"),
    "adaptive": lambda: layers.AdaptiveMaxPooling3D((5, 3, 7)),
    "operation": lambda: lambda x: ops.max_pool(x, 3, 2, "same"),
}


@pytest.mark.parametrize("kind", marked(VOLUMES, {"adaptive"}))
def test_files_of_volumes(kind, tmp_path):
    inputs, x = keras.Input(VOLUME), values(4, *VOLUME)
    model = keras.Model(inputs, VOLUMES[kind]()(inputs))
    ks.export_tflite(model, tmp_path / "m.tflite", representative_dataset=x)
    np.testing.assert_allclose(
        ks.predict_tflite(tmp_path / "m.tflite", x), model.predict(x), atol=1e-5
    )
    quantized = ks.quantize_model(model, x)
    report = ks.export_tflite(quantized, tmp_path / "m.tflite")
    assert not report.float_operators
    y = ks.predict_tflite(tmp_path / "m.tflite", x)
    np.testing.assert_allclose(y, model.predict(x), atol=0.06)


def test_volumes_with_channels_first_stay():
    model = pooled(VOLUME, layers.MaxPooling3D(2, data_format="channels_first"))
    [row] = quantization_report(model).float_layers
    assert "channels come first" in row.reason


POOLINGS = {
    "images": [layers.AveragePooling2D(2)],
    "bands": [layers.AveragePooling2D((1, 8))],
    "padded": [layers.AveragePooling2D(3, 1, padding="same")],
    "time": [layers.Reshape((16, 24)), layers.AveragePooling1D(4)],
    "behind a ReLU": [layers.ReLU(), layers.AveragePooling2D(2)],
}


@pytest.mark.parametrize("name", POOLINGS)
def test_means_that_are_ties_are_those_of_the_kernels(name, tmp_path):
    x = values(32, 16, 8, 3)
    quantized = ks.quantize_model(pooled((16, 8, 3), *POOLINGS[name]), x)
    quantized.save(tmp_path / "model.keras")
    quantized = keras.models.load_model(tmp_path / "model.keras")
    path = tmp_path / "model.tflite"
    report = ks.export_tflite(quantized, path, representative_dataset=x)
    assert report.agreement[0].steps < 0.1
