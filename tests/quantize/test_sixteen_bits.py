"""What has no 16-bit operator, or one that is too coarse, stays in floating point."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

from keras_share import export_tflite, quantize_model
from keras_share.quantize import quantization_report


def test_roots_and_what_is_missing_are_in_floating_point(tmp_path):
    x = inputs = keras.Input((6, 6, 4))
    x = layers.LayerNormalization(name="norm")(layers.Conv2D(4, 1)(x))
    x = layers.Activation("hard_silu")(layers.Dense(4)(x))
    x = layers.UpSampling2D(2, name="up")(x)
    x = layers.PReLU(shared_axes=[1, 2], name="prelu")(layers.Conv2D(4, 1)(x))
    model = randomize(keras.Model(inputs, layers.Dense(3)(x)))
    # Of variances from next to nothing on, among which a look-up has no points.
    x = values(32, 6, 6, 4) * 10.0 ** np.linspace(-3, 1, 32)[:, None, None, None]
    report = quantization_report(model, quantization="int16")
    reasons = {row.name: row.reason.split(": ")[-1] for row in report.float_layers}
    assert reasons == {
        "norm": "roots in 16 bits are too coarse near zero",
        "up": "TFLite has no 16-bit operator for it",
        "prelu": "TFLite has no 16-bit operator for it",
    }
    with pytest.warns(UserWarning, match="'norm' .*roots in 16 bits"):
        quantized = quantize_model(model, x, quantization="int16")
    report = export_tflite(
        quantized, tmp_path / "m.tflite", representative_dataset=x.astype("float32")
    )
    assert {"RSQRT", "PRELU"} <= set(report.float_operators)
    [found] = report.agreement
    assert found.ratio > 60  # with a root of 16 bits it was 9


def test_a_sum_with_a_product_that_moved(tmp_path):
    inputs, x = keras.Input((6, 8)), values(16, 6, 8)
    moved = ops.expand_dims(layers.Dense(8)(inputs), 1)
    y = layers.Dense(3)(moved + ops.expand_dims(inputs, 1))
    quantized = quantize_model(keras.Model(inputs, y), x, quantization="int16")
    report = export_tflite(quantized, tmp_path / "m.tflite", representative_dataset=x)
    assert not report.float_operators
