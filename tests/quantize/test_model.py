import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from random_data import randomize, values

import keras_share
from keras_share import SharedStack, export_tflite, predict_tflite, quantize_model
from keras_share.layers.sublayers import sublayers
from keras_share.quantize import FakeQuantize, QuantizeWeights, calibrate


def of_type(model, kind):
    return [part for part in sublayers(model) if isinstance(part, kind)]


def conv_block():
    return keras.Sequential(
        [
            layers.Conv2D(6, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    )


def conv_model(pattern="AABA"):
    inputs = keras.Input((6, 6, 6))
    x = SharedStack(conv_block, pattern)(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    return randomize(keras.Model(inputs, layers.Dense(3)(x)))


def test_each_variable_has_one_quantizer_and_each_use_a_range():
    model = conv_model()
    quantized = quantize_model(model)
    kernels = of_type(quantized, QuantizeWeights)
    assert len(kernels) == 3  # two groups and the head
    # Input, convolution and ReLU of the three tied sites, ReLU of the single one
    # (its normalization is folded), average, head.
    assert len(of_type(quantized, FakeQuantize)) == 1 + 3 * 2 + 1 + 1 + 1
    ranges = 2 * len(of_type(quantized, FakeQuantize))
    per_channel = 2 * (6 + 6 + 3)
    extra = ranges + per_channel
    assert quantized.count_params() == model.count_params() + extra


def test_leaves_the_float_model_alone():
    model = conv_model()
    before = model.get_weights()
    quantized = quantize_model(model, values(8, 6, 6, 6))
    quantized.compile("sgd", "mse", run_eagerly=True)
    quantized.fit(values(8, 6, 6, 6), values(8, 3), verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_calibrated_outputs_are_near_the_float_ones():
    model, x = conv_model(), values(64, 6, 6, 6)
    quantized = quantize_model(model, representative_dataset=x)
    ours, theirs = np.asarray(quantized(x)), np.asarray(model(x))
    noise = 20 * np.log10(np.std(theirs) / np.std(ours - theirs))
    assert noise > 25  # dB


@pytest.mark.parametrize("jit_compile", [True, False])
def test_trains(jit_compile):
    x = values(64, 6, 6, 6)
    y = values(64, 3)
    quantized = quantize_model(conv_model(), representative_dataset=x)
    optimizer = keras.optimizers.Adam(1e-2)
    optimizer.build(quantized.trainable_variables)  # else Keras traces twice
    quantized.compile(optimizer, "mse", jit_compile=jit_compile)
    ranges = [float(part.max.numpy()) for part in of_type(quantized, FakeQuantize)]
    losses = quantized.fit(x, y, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    after = [float(part.max.numpy()) for part in of_type(quantized, FakeQuantize)]
    assert ranges != after


def test_gradient_of_a_tied_kernel_is_the_sum_over_its_uses():
    x, y = values(8, 6), values(8, 6, seed=1)
    start = values(6, 6)
    gradients = []
    for pattern in ("AA", "AB"):
        stack = SharedStack(layers.Dense(6, activation="relu"), pattern)
        model = keras.Sequential([keras.Input((6,)), stack])
        for block in stack.blocks:
            block.kernel.assign(start)
        quantized = quantize_model(model, representative_dataset=x)
        kernels = [v for v in quantized.trainable_variables if v.name == "kernel"]
        with tf.GradientTape() as tape:
            loss = keras.losses.MeanSquaredError()(y, quantized(x, training=False))
        gradients.append(tape.gradient(loss, [v.value for v in kernels]))
    [tied], untied = gradients
    assert len(untied) == 2 and np.abs(tied).max() > 1e-2
    np.testing.assert_allclose(tied, sum(untied), rtol=1e-4, atol=1e-6)


def test_round_trip_mid_training(tmp_path):
    x, y = values(16, 6, 6, 6), values(16, 3)
    quantized = quantize_model(conv_model(), representative_dataset=x)
    quantized.compile("adam", "mse", run_eagerly=True)
    quantized.fit(x, y, verbose=0)
    quantized.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(quantized(x), loaded(x))
    assert loaded.count_params() == quantized.count_params()
    loaded.fit(x, y, verbose=0)
    report = export_tflite(loaded, tmp_path / "model.tflite")
    assert sorted(b.uses for b in report.buffers if b.nbytes == 324) == [1, 3]


@pytest.mark.parametrize("pattern", ["AABA", "ABCD", "AAAA"])
def test_file_is_int8_with_each_tied_kernel_once(pattern, tmp_path):
    x = values(32, 6, 6, 6)
    model = conv_model(pattern)
    quantized = quantize_model(model, representative_dataset=x)
    quantized.compile(keras.optimizers.SGD(1e-3), "mse", run_eagerly=True)
    quantized.fit(x, values(32, 3), verbose=0)
    path = tmp_path / "model.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    kernels = [b for b in report.buffers if b.nbytes == 6 * 6 * 9]
    assert len(kernels) == len(set(pattern))
    assert {b.dtype for b in kernels} == {"int8"}
    assert report.duplicate_bytes == 0
    assert not report.float_operators
    theirs = np.asarray(quantized(x))
    step = (theirs.max() - theirs.min()) / 255
    # A rounding in one of the ten operators before it may move a value by a step.
    assert np.abs(predict_tflite(path, x) - theirs).max() <= 4 * step


def test_integer_weights_in_the_file_are_those_simulated(tmp_path):
    from keras_share.tflite.file import flatbuffer

    x = values(32, 6, 6, 6)
    quantized = quantize_model(conv_model("AAA"), representative_dataset=x)
    quantized.compile(keras.optimizers.Adam(1e-2), "mse", run_eagerly=True)
    quantized.fit(x, values(32, 3), verbose=0)
    layer = next(
        part
        for part in of_type(quantized, QuantizeWeights)
        if part.layer.kernel.shape == (3, 3, 6, 6)
    )
    simulated = np.moveaxis(np.asarray(layer.quantized("kernel")), -1, 0)
    scales = np.abs(simulated).max(axis=(1, 2, 3)) / 127
    integers = np.round(simulated / scales[:, None, None, None]).astype("int8")

    export_tflite(quantized, tmp_path / "model.tflite", representative_dataset=x)
    stored = flatbuffer.read(tmp_path / "model.tflite")
    [tensor] = [t for t in stored.subgraphs[0].tensors if list(t.shape) == [6, 3, 3, 6]]
    data = flatbuffer.buffer_bytes(stored, tensor.buffer)
    found = np.frombuffer(data, "int8").reshape(6, 3, 3, 6)
    np.testing.assert_array_equal(found, integers)


CASES = {
    "dense relu": lambda: [layers.Dense(8, activation="relu")],
    "dense, relu": lambda: [layers.Dense(8), layers.ReLU()],
    "dense relu6": lambda: [layers.Dense(8, activation="relu6"), layers.ReLU(6)],
    "dense gelu": lambda: [layers.Dense(8, activation="gelu")],
    "dense swish": lambda: [layers.Dense(8, activation="swish")],
    "dense sigmoid": lambda: [layers.Dense(8, activation="sigmoid"), layers.Dense(4)],
    "dense tanh": lambda: [layers.Dense(8), layers.Activation("tanh")],
    "dense softmax": lambda: [layers.Dense(8, activation="softmax")],
    "hard swish": lambda: [layers.Dense(8), layers.Activation("hard_swish")],
    "leaky relu": lambda: [layers.Dense(8), layers.LeakyReLU()],
    "einsum": lambda: [layers.EinsumDense("abc,cd->abd", (None, 8), bias_axes="d")],
    "einsum heads": lambda: [
        layers.EinsumDense("abc,cde->abde", (None, 2, 4)),
        layers.EinsumDense("abde,dec->abc", (None, 8), bias_axes="c"),
    ],
    "conv1d": lambda: [layers.Conv1D(8, 3, padding="same", activation="relu")],
    "depthwise1d": lambda: [layers.DepthwiseConv1D(3), layers.ReLU()],
    "dense, norm": lambda: [layers.Dense(8), layers.BatchNormalization()],
    "norm, dense": lambda: [layers.BatchNormalization(), layers.Dense(8)],
    "pooling": lambda: [
        layers.Conv1D(8, 3),
        layers.AveragePooling1D(2),
        layers.MaxPooling1D(2),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(3),
    ],
    "images": lambda: [
        layers.Reshape((8, 4, 2)),
        layers.Conv2D(4, 3, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
        layers.ZeroPadding2D(),
        layers.AveragePooling2D(2),
        layers.MaxPooling2D(2),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_covered_layers_leave_no_float_operator(name, tmp_path):
    x = values(32, 8, 8)
    model = randomize(keras.Sequential([keras.Input((8, 8)), *CASES[name]()]))
    report = keras_share.quantize.quantization_report(model)
    assert not report.float_layers
    quantized = quantize_model(model, representative_dataset=x)
    path = tmp_path / "model.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators
    theirs = np.asarray(quantized(x))
    step = (theirs.max() - theirs.min()) / 255
    assert np.abs(predict_tflite(path, x) - theirs).max() <= 4 * step


def test_residuals_and_products(tmp_path):
    inputs = keras.Input((8,))
    dense = layers.Dense(8)
    x = layers.Add()([dense(inputs), inputs])
    x = layers.ReLU()(x) * dense(x)
    x = layers.Dropout(0.2)(x) - inputs
    model = randomize(keras.Model(inputs, x))
    data = values(32, 8)
    quantized = quantize_model(model, representative_dataset=data)
    report = export_tflite(
        quantized, tmp_path / "model.tflite", representative_dataset=data
    )
    assert not report.float_operators
    assert [b.uses for b in report.buffers if b.nbytes == 64] == [2]


def test_integer_inputs(tmp_path):
    inputs = keras.Input((2, 3), dtype="int32")
    x = layers.Embedding(10, 8, name="tokens")(layers.Reshape((6,))(inputs))
    model = keras.Model(inputs, SharedStack(layers.Dense(8, "relu"), "AA")(x))
    data = np.random.default_rng(0).integers(0, 10, (16, 2, 3)).astype("int32")
    quantized = quantize_model(model, representative_dataset=data)
    report = export_tflite(
        quantized, tmp_path / "model.tflite", representative_dataset=data
    )
    assert [(b.dtype, b.uses) for b in report.buffers if b.nbytes == 64] == [
        ("int8", 2)
    ]


def test_private_biases_and_kernels(tmp_path):
    x = values(32, 8)
    for private, stored in (("bias", 1), (["bias", "kernel"], 3), ("kernel", 3)):
        inputs = keras.Input((8,))
        stack = SharedStack(layers.Dense(8, activation="relu"), "AAA", private)
        model = randomize(keras.Model(inputs, stack(inputs)))
        quantized = quantize_model(model, representative_dataset=x)
        report = export_tflite(
            quantized, tmp_path / "m.tflite", representative_dataset=x
        )
        assert len([b for b in report.buffers if b.nbytes == 64]) == stored
        assert not report.float_operators


def test_what_is_not_covered_is_named():
    model = keras.Sequential(
        [
            keras.Input((4, 8)),
            layers.Dense(8, activation="sparsemax", name="odd"),
            layers.Dense(8, activation=ops.cumsum, name="each"),
        ]
    )
    named = r"floating point: 'odd.sparsemax' \(Sparsemax\): .*'each.cumsum' \(Cumsum\)"
    with pytest.warns(UserWarning, match=named):
        quantize_model(model)
    with pytest.raises(ValueError, match=r"strict=True every layer.*'odd.sparsemax'"):
        quantize_model(model, strict=True)
    report = keras_share.quantize.quantization_report(model)
    assert [row.name for row in report.float_layers] == ["odd.sparsemax", "each.cumsum"]
    assert "odd.sparsemax (Sparsemax): there is no rule for Sparsemax" in str(report)
    assert str(report).startswith("2 of 4 steps in int8")
    assert list(report.to_frame().columns) == ["name", "kind", "dtype", "reason"]


def test_normalization_that_cannot_be_quantized_is_named():
    first = keras.Sequential([keras.Input((4, 8)), layers.BatchNormalization(axis=1)])
    unknown = keras.Sequential([keras.Input((None, 8)), layers.BatchNormalization()])
    for model, reason in ((first, "its axis"), (unknown, "the shape of its input")):
        [row] = keras_share.quantize.quantization_report(model).float_layers
        assert row.reason.startswith(reason)


def test_float_layers_between_quantized_ones(tmp_path):
    x = values(32, 4, 8)
    inputs = keras.Input((4, 8))
    block = keras.Sequential([layers.Dense(16, "sparsemax"), layers.Dense(8, "relu")])
    model = keras.Model(inputs, SharedStack(block, "AA")(inputs))
    with pytest.warns(UserWarning, match="Sparsemax"):
        quantized = quantize_model(model, representative_dataset=x)
    report = export_tflite(
        quantized, tmp_path / "model.tflite", representative_dataset=x
    )
    dense = [b for b in report.buffers if b.nbytes == 128]
    assert [(b.dtype, b.uses) for b in dense] == [("int8", 2)] * 2


def test_ranges_must_be_set_before_export(tmp_path):
    quantized = quantize_model(conv_model())
    with pytest.raises(ValueError, match=r"was never set from data.*\[-6.0, 6.0\]"):
        export_tflite(quantized, tmp_path / "model.tflite")
    assert os.listdir(tmp_path) == []
    calibrate(quantized, values(8, 6, 6, 6))
    export_tflite(quantized, tmp_path / "model.tflite")


def test_frozen_layers_can_be_unfrozen():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    model.layers[0].trainable = False
    quantized = quantize_model(model)
    assert len(quantized.trainable_weights) == 2
    for layer in quantized.layers:
        layer.trainable = True
    assert len(quantized.trainable_weights) == 4


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: quantize_model(m, values(3, 5)), r"\(None, 6, 6, 6\).*\(1, 5\)"),
        (lambda m: quantize_model(quantize_model(m)), "is quantized already"),
        (
            lambda m: quantize_model(keras.Sequential([layers.Dense(2)])),
            "is not built: add a",
        ),
        (
            lambda m: export_tflite(quantize_model(m), "x", quantization="int8"),
            "is exported as it was trained.*'int8'",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(conv_model())


def test_importing_tfmot_does_not_switch_the_process_to_legacy_keras():
    quantize_model(conv_model("AAAA"))
    assert "TF_USE_LEGACY_KERAS" not in os.environ
