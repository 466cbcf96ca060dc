"""Quantized models as they are used: trained, shared, selected, gone wrong."""

import os
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from random_data import randomize, values

import keras_share
from keras_share import SharedStack, export_tflite, predict_tflite, quantize_model
from keras_share.layers.sublayers import sublayers
from keras_share.quantize import FakeQuantize


def of_type(model, kind):
    return [part for part in sublayers(model) if isinstance(part, kind)]


def conv_model():
    block = keras.Sequential(
        [
            layers.Conv2D(6, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    )
    inputs = keras.Input((6, 6, 6))
    x = layers.GlobalAveragePooling2D()(SharedStack(block, "AABA")(inputs))
    return randomize(keras.Model(inputs, layers.Dense(3)(x)))


def test_a_shared_model_is_quantized_with_its_ties(tmp_path):
    x = values(32, 8)
    plain = [layers.Dense(8, "relu", name=f"dense_{i}") for i in range(4)]
    model = randomize(keras.Sequential([keras.Input((8,)), *plain]))
    shared = keras_share.share(model, "AABB")
    quantized = quantize_model(shared, representative_dataset=x)
    report = export_tflite(
        quantized, tmp_path / "model.tflite", representative_dataset=x
    )
    assert [b.uses for b in report.buffers if b.nbytes == 64] == [2, 2]
    assert not report.float_operators


def test_trains_with_callbacks_clones_and_loops_of_ones_own():
    x, y = values(16, 6), values(16, 6, seed=1)
    stack = SharedStack(layers.Dense(6, "relu"), "AAB", "bias")
    model = randomize(keras.Sequential([keras.Input((6,)), stack]))
    quantized = quantize_model(model, representative_dataset=x)
    quantized.compile("adam", "mse", run_eagerly=True)
    stop = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    quantized.fit(x, y, epochs=2, callbacks=[stop], verbose=0)

    clone = keras.models.clone_model(
        quantized, clone_function=keras_share.layers.TiedCloner()
    )
    clone.set_weights(quantized.get_weights())
    np.testing.assert_array_equal(clone(x), quantized(x))
    assert len(clone.trainable_weights) == len(quantized.trainable_weights)

    optimizer = keras.optimizers.SGD(1e-2)
    before = [v.numpy() for v in clone.trainable_variables]
    with tf.GradientTape() as tape:
        loss = keras.losses.MeanSquaredError()(y, clone(x, training=True))
    gradients = tape.gradient(loss, [v.value for v in clone.trainable_variables])
    optimizer.apply(gradients, clone.trainable_variables)
    after = [v.numpy() for v in clone.trainable_variables]
    assert any(np.abs(a - b).max() > 0 for a, b in zip(before, after, strict=True))


def test_integer_ends_need_integers_throughout(tmp_path):
    path = tmp_path / "model.tflite"
    x = values(8, 4, 8)
    odd = keras.Sequential([keras.Input((4, 8)), layers.Dense(8, "sparsemax")])
    with pytest.warns(UserWarning, match="Sparsemax"):
        odd = quantize_model(odd, representative_dataset=x)
    with pytest.raises(
        ValueError, match="integers as inputs or outputs must compute with"
    ):
        export_tflite(odd, path, representative_dataset=x, inference_output_type="int8")
    dynamic = quantize_model(
        keras.Sequential([keras.Input((8,)), layers.Dense(4)]), quantization="dynamic"
    )
    with pytest.raises(
        ValueError, match=r"must be one of float32 for a file.*'dynamic'"
    ):
        export_tflite(dynamic, path, inference_input_type="int8")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"quantization": "int2"}, r"`quantization` must be one of int8, .*'int2'"),
        ({"ranges": "layer"}, r"`ranges` must be 'site' or 'group'.*'layer'"),
        ({"skip": ["nothing"]}, r"`skip` must list layers of the model.*'nothing'"),
    ],
)
def test_arguments_that_are_wrong(arguments, message):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
    with pytest.raises(ValueError, match=message):
        quantize_model(model, **arguments)


def test_the_former_name_of_an_argument():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
    with pytest.deprecated_call(match="`scheme` is called `quantization` now"):
        quantized = quantize_model(model, scheme="dynamic")
    assert not of_type(quantized, FakeQuantize)


@pytest.mark.parametrize("skip", [["middle"], ["middle", "windows"]])
def test_what_is_left_out_is_in_floating_point_in_the_file(skip, tmp_path):
    x = values(16, 8, 6)
    stages = [
        layers.Dense(6, name="first"),
        layers.Dense(6, activation="relu", name="middle"),
        layers.Conv1D(6, 3, name="windows"),
        layers.Dense(4, name="last"),
    ]
    model = randomize(keras.Sequential([keras.Input((8, 6)), *stages]))
    quantized = quantize_model(model, representative_dataset=x, skip=skip)
    path = tmp_path / "model.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    # Of the kernels that are left out, and none of the others.
    kernels = {(6, 6), (6, 1, 3, 6), (4, 6)}
    stored = [b for b in report.buffers if b.shape in kernels]
    assert sum(b.dtype == "float32" for b in stored) == len(skip)
    step = float(quantized.layers[-1].max - quantized.layers[-1].min) / 255
    assert np.abs(predict_tflite(path, x) - quantized(x)).max() <= 2.01 * step


def test_ids_that_come_as_numbers(tmp_path):
    ids = np.arange(600, dtype="float32").reshape(100, 6)
    stages = [layers.Embedding(600, 8), layers.Flatten(), layers.Dense(4)]
    model = randomize(keras.Sequential([keras.Input((6,)), *stages]))
    quantized = quantize_model(model, representative_dataset=ids)
    largest = np.abs(model(ids)).max()
    assert np.abs(quantized(ids) - model(ids)).max() < 0.05 * largest


def test_ranges_that_saw_only_zeros(tmp_path):
    x = values(16, 5, 8)
    head = layers.Dense(3, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((5, 8)), layers.GRU(4), head])
    quantized = quantize_model(model, representative_dataset=x)
    path = tmp_path / "model.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators
    assert not predict_tflite(path, x).any()


def test_frozen_ranges_stay(tmp_path):
    x = values(16, 6, 6, 6)
    quantized = quantize_model(conv_model(), representative_dataset=x)
    quantized.trainable = False
    before = quantized.get_weights()
    quantized(10 * x, training=True)
    for old, new in zip(before, quantized.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_under_a_half_precision_policy(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        model = conv_model()
        x = values(16, 6, 6, 6)
        quantized = quantize_model(model, representative_dataset=x)
        path = tmp_path / "model.tflite"
        report = export_tflite(quantized, path, representative_dataset=x)
        assert not report.float_operators
        if policy == "mixed_float16":
            export_tflite(model, path)
        assert keras.config.dtype_policy().name == policy
    finally:
        keras.config.set_dtype_policy("float32")


def test_weights_that_are_not_finite(tmp_path):
    model = conv_model()
    [head] = [layer for layer in model.layers if layer.name.startswith("dense")]
    head.kernel.assign(np.full(head.kernel.shape, np.nan))
    with pytest.raises(ValueError, match=r"Weights must be finite.*dense.*kernel"):
        export_tflite(model, tmp_path / "model.tflite")
    assert os.listdir(tmp_path) == []


def test_report_is_of_the_quantization_and_the_choice_of_layers():
    stages = [layers.Dense(128, name="first"), layers.Dense(4, "relu", name="last")]
    model = keras.Sequential([keras.Input((8,)), *stages])
    report = keras_share.quantize.quantization_report(
        model, quantization="int16", skip=["first"]
    )
    assert [row.dtype for row in report.rows] == ["float32", "int16"]
    assert str(report).startswith("1 of 2 steps in int16\n  float32: first (Dense): it")
    report = keras_share.quantize.quantization_report(
        model, quantization="dynamic_int4"
    )
    # The converter leaves kernels of fewer than 1,024 values as they are.
    assert [row.dtype for row in report.rows] == ["int4 weights", "float32"]
    assert not report.float_layers


def test_ranges_that_are_not_finite(tmp_path):
    quantized = quantize_model(conv_model(), representative_dataset=values(8, 6, 6, 6))
    broken = of_type(quantized, FakeQuantize)[2]
    broken.max.assign(np.nan)
    message = rf"ranges must be finite.*\[.*nan\] of '{broken.name}'"
    with pytest.raises(ValueError, match=message):
        export_tflite(quantized, tmp_path / "model.tflite")
    assert os.listdir(tmp_path) == []


def test_samples_of_which_the_model_makes_nan():
    inputs = keras.Input((4,))
    y = inputs / keras.ops.sum(inputs, axis=-1, keepdims=True)
    model = keras.Model(inputs, layers.Dense(2)(y))
    message = r"numbers in the model must be finite.*\[nan, nan\] of 'true_divide"
    with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
        warnings.simplefilter("ignore", UserWarning)  # the division stays in floats
        quantize_model(model, np.eye(3, 4, k=1, dtype="float32") * [0, 1, 1, 0])
