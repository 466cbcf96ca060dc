"""The start of each family of keras.applications, in integers on each runtime."""

import keras
import numpy as np
import pytest
from keras import layers
from random_data import values

from keras_share import export_tflite
from keras_share.tflite.runtimes.agreement import agreement_of
from keras_share.tflite.runtimes.apart import run_apart
from keras_share.tflite.runtimes.micro import run_micro

# The last layer that is taken, by which all kinds of layers of the family have come.
FAMILIES = {
    "ConvNeXtTiny": "convnext_tiny_stage_0_block_1_identity",
    "DenseNet121": "conv2_block2_concat",
    "EfficientNetB0": "block2a_project_bn",
    "EfficientNetV2B0": "block4a_project_bn",
    "InceptionResNetV2": "block35_1_ac",
    "InceptionV3": "mixed0",
    "MobileNet": "conv_pw_2_relu",
    "MobileNetV2": "block_2_add",
    "MobileNetV3Small": "expanded_conv_3_project_bn",
    "NASNetMobile": "reduction_concat_stem_1",
    "ResNet50": "conv2_block1_out",
    "ResNet50V2": "conv2_block1_out",
    "VGG16": "block2_pool",
    "Xception": "block3_pool",
}
LARGE = ("Inception", "Xception")  # take no smaller images
RAW = ("EfficientNet", "MobileNetV3", "ConvNeXt")  # take numbers up to 255
NOT_IN_MICRO = ("ConvNeXt",)  # GELU


def start_of(family):
    """A classifier on the start of a network, and samples that it was normalized on."""
    size = 75 if family.startswith(LARGE) else 32
    image = keras.Input((size, size, 3), name="image")
    whole = getattr(keras.applications, family)(
        weights=None, input_tensor=image, include_top=False
    )
    y = layers.GlobalMaxPooling2D()(whole.get_layer(FAMILIES[family]).output)
    model = keras.Model(image, layers.Dense(5, name="scores")(y))
    x = values(4, size, size, 3)
    x = np.clip(x * 64 + 128, 0, 255) if family.startswith(RAW) else x
    for layer in model.layers:
        layer.momentum = 0.0
    model(x, training=True)
    return model, x


@pytest.mark.parametrize("family", FAMILIES)
def test_integers_on_each_runtime(family, tmp_path):
    model, x = start_of(family)
    right, path = np.asarray(model(x)), tmp_path / "model.tflite"
    options = {"target": "cpu", "quantization": "int8", "representative_dataset": x}
    report = export_tflite(model, path, **options)
    assert not report.float_operators
    assert report.agreement[0].ratio > 14  # of XNNPACK's kernels
    calls = [{"image": row[None]} for row in x]
    rows = run_apart("run_rows", "reference", str(path), calls, timeout=60, fresh=False)
    reference = np.concatenate([row["scores"] for row in rows])
    assert agreement_of("", right, reference).ratio > 14
    if not family.startswith(NOT_IN_MICRO):
        pytest.importorskip("tflite_micro")
        micro = run_micro(path, x).outputs
        assert agreement_of("", reference, micro).ratio > 35
