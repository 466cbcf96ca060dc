import os

import keras
import numpy as np
import pytest
from keras import layers
from random_data import randomize, values

import keras_share
from keras_share import SharedStack, SharingPattern, export_tflite
from keras_share.blocks import TransformerBlock

SCHEMES = ["float32", "float16", "dynamic", "int8"]


def kernels(report, shape):
    return [b for b in report.buffers if sorted(b.shape) == sorted(shape)]


def dense_norm(units=12):
    return keras.Sequential(
        [layers.Dense(units, activation="tanh"), layers.BatchNormalization()]
    )


@pytest.mark.parametrize("num_sites", range(1, 6))
def test_every_pattern_stores_each_tied_kernel_once(num_sites, tmp_path):
    # Side by side, and told apart by the sizes of their kernels: one conversion does.
    # Private normalization between the kernels, its gamma of mixed sign.
    patterns = dict(enumerate(SharingPattern.all(num_sites), start=4))
    inputs = [keras.Input((units,)) for units in patterns]
    outputs = [
        SharedStack(lambda units=units: dense_norm(units), pattern)(x)
        for x, (units, pattern) in zip(inputs, patterns.items(), strict=True)
    ]
    model = randomize(keras.Model(inputs, outputs))
    report = export_tflite(model, tmp_path / "model.tflite")
    for units, pattern in patterns.items():
        found = kernels(report, (units, units))
        assert len(found) == pattern.num_groups, pattern
        assert sorted(b.uses for b in found) == sorted(map(len, pattern.groups))
    assert report.duplicate_bytes == 0


def conv_model(pattern, channels=12):
    inputs = keras.Input((6, 6, channels))
    x = SharedStack(keras_share.blocks.SeparableConvBlock(), pattern)(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    return randomize(keras.Model(inputs, layers.Dense(3)(x)))


@pytest.mark.parametrize("quantization", SCHEMES)
def test_convolutions_beside_private_normalization_stay_one(quantization, tmp_path):
    channels = 36  # dynamic range leaves kernels of under 1,024 values in float
    x = values(16, 6, 6, channels)
    report = export_tflite(
        conv_model("AABA", channels),
        tmp_path / "model.tflite",
        quantization=quantization,
        representative_dataset=x,
    )
    pointwise = kernels(report, (1, 1, channels, channels))
    depthwise = kernels(report, (1, 3, 3, channels))
    assert len(pointwise) == len(depthwise) == 2
    assert report.duplicate_bytes == 0
    item = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}[quantization]
    assert sum(b.nbytes for b in pointwise) == 2 * channels**2 * item
    assert bool(report.float_operators) == (quantization != "int8")


def test_normalization_of_a_kernel_with_one_use_is_folded(tmp_path):
    report = export_tflite(conv_model("ABCD"), tmp_path / "model.tflite")
    counts = {o.name: o.count for o in report.operators}
    assert counts["DEPTHWISE_CONV_2D"] == 4
    assert len(kernels(report, (1, 1, 12, 12))) == 4


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("rank", [2, 3, 4])
def test_normalization_beside_a_tied_dense_of_any_rank(rank, before, tmp_path):
    def block():
        parts = [layers.Dense(12), layers.BatchNormalization()]
        return keras.Sequential([*(parts[::-1] if before else parts), layers.ReLU()])

    inputs = keras.Input((*(3,) * (rank - 2), 12))
    model = keras.Model(inputs, SharedStack(block, "AAA")(inputs))
    report = export_tflite(randomize(model), tmp_path / "model.tflite")
    assert [b.uses for b in kernels(report, (12, 12))] == [3]


@pytest.mark.parametrize(
    "norm",
    [
        layers.RMSNormalization,
        layers.LayerNormalization,
        lambda: layers.LayerNormalization(center=False),
        lambda: layers.BatchNormalization(center=False),
        lambda: layers.BatchNormalization(scale=False),
    ],
)
@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_private_scale_before_a_tied_kernel(quantization, norm, tmp_path):
    def block():
        return keras.Sequential([norm(), layers.Dropout(0.1), layers.Dense(12)])

    inputs = keras.Input((3, 12))
    model = keras.Model(inputs, SharedStack(block, "AAA")(inputs))
    report = export_tflite(
        randomize(model),
        tmp_path / "model.tflite",
        quantization=quantization,
        representative_dataset=values(16, 3, 12),
    )
    assert [b.uses for b in kernels(report, (12, 12))] == [3]


@pytest.mark.parametrize(
    "quantization, normalize_first",
    [("float32", False), ("dynamic", True), ("int8", True)],
)
def test_transformer(quantization, normalize_first, tmp_path):
    inputs = keras.Input((5, 12))
    block = TransformerBlock(2, 24, normalize_first=normalize_first)
    model = randomize(keras.Model(inputs, SharedStack(block, "AAA")(inputs)))
    report = export_tflite(
        model,
        tmp_path / "model.tflite",
        quantization=quantization,
        representative_dataset=values(16, 5, 12),
    )
    assert len(kernels(report, (12, 24))) == 2
    assert len(kernels(report, (12, 12))) == 4  # query, key, value, output
    assert report.duplicate_bytes == 0


@pytest.mark.parametrize("quantization", ["float32", "float16", "dynamic"])
def test_products_by_constants_do_not_fold_into_copies(quantization, tmp_path):
    inputs = x = keras.Input((40,))
    dense, other = layers.Dense(40), layers.Dense(40)
    for site in range(3):
        x = dense(x) * values(3, 40)[site] / 3.0
    x = layers.Rescaling(0.3)(other(x))
    # Nor into a copy for one of two readers.
    y = other(layers.Rescaling(0.5)(x))
    model = randomize(keras.Model(inputs, {"a": keras.ops.relu(y), "b": 2 * y}))
    path, x = tmp_path / "model.tflite", values(4, 40)
    report = export_tflite(model, path, quantization=quantization)
    assert len(kernels(report, (40, 40))) == 2
    assert not [op for op in report.operators if op.name.startswith("CUSTOM")]
    found = keras_share.predict_tflite(path, x)
    for name, expected in model(x).items():
        np.testing.assert_allclose(found[name], expected, atol=np.ptp(expected) / 20)


def test_file_computes_what_the_model_does(tmp_path):
    model = conv_model("AAB")
    export_tflite(model, tmp_path / "model.tflite")
    x = values(5, 6, 6, 12)
    np.testing.assert_allclose(
        keras_share.predict_tflite(tmp_path / "model.tflite", x),
        model(x),
        rtol=1e-4,
        atol=1e-5,
    )


def test_several_inputs_and_outputs(tmp_path):
    first, second = keras.Input((4,), name="z"), keras.Input((6,), name="a")
    outputs = [layers.Dense(2)(first), layers.Dense(3)(second)]
    outputs += [layers.Dense(1)(first) for _ in range(9)]
    model = keras.Model([first, second], outputs)
    path = tmp_path / "model.tflite"
    export_tflite(model, path, representative_dataset=[values(3, 4), values(3, 6)])
    inputs = {"z": values(3, 4), "a": values(3, 6)}
    actual = keras_share.predict_tflite(path, inputs)
    expected = model([inputs["z"], inputs["a"]])
    for ours, theirs in zip(actual.values(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_inputs_as_a_dict(tmp_path):
    inputs = {name: keras.Input((4,), name=name) for name in ("left", "right")}
    model = keras.Model(inputs, inputs["left"] * 2 + inputs["right"])
    path = tmp_path / "model.tflite"
    data = {"left": values(3, 4), "right": values(3, 4) + 1}
    export_tflite(model, path, quantization="int8", representative_dataset=data)
    actual = keras_share.predict_tflite(path, data)
    np.testing.assert_allclose(actual, data["left"] * 2 + data["right"], atol=0.1)


def test_outputs_as_a_dict(tmp_path):
    inputs = keras.Input((4,))
    outputs = {"out10": layers.Dense(2)(inputs), "out2": layers.Dense(3)(inputs)}
    model = keras.Model(inputs, outputs)
    export_tflite(model, tmp_path / "model.tflite")
    actual = keras_share.predict_tflite(tmp_path / "model.tflite", values(3, 4))
    for name, expected in model(values(3, 4)).items():
        np.testing.assert_allclose(actual[name], expected, rtol=1e-4, atol=1e-5)


def test_samples_reach_their_inputs_by_name(tmp_path):
    # The converter orders inputs by name; these ranges must not be exchanged.
    wide, narrow = keras.Input((4,), name="z"), keras.Input((4,), name="a")
    x = layers.Concatenate()([layers.Dense(4)(wide), layers.Dense(4)(narrow)])
    model = randomize(keras.Model([wide, narrow], layers.Dense(3)(x)))
    data = [values(32, 4) * 10, values(32, 4)[::-1]]
    path = tmp_path / "model.tflite"
    export_tflite(model, path, quantization="int8", representative_dataset=data)
    actual = keras_share.predict_tflite(path, {"z": data[0], "a": data[1]})
    expected = np.asarray(model(data))
    assert np.abs(actual - expected).max() < 0.03 * np.abs(expected).max()


def test_images_of_unknown_size_keep_their_kernels(tmp_path):
    inputs = keras.Input((None, None, 12))
    model = keras.Model(
        inputs, SharedStack(keras_share.blocks.SeparableConvBlock(), "AA")(inputs)
    )
    report = export_tflite(
        randomize(model),
        tmp_path / "model.tflite",
        representative_dataset=values(2, 5, 5, 12),
    )
    assert [b.uses for b in kernels(report, (1, 1, 12, 12))] == [2]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_half_precision(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((12,), dtype="float32")
        model = randomize(keras.Model(inputs, SharedStack(dense_norm, "AA")(inputs)))
    finally:
        keras.config.set_dtype_policy("float32")
    # What a training leaves at a model is none of the file's business.
    model.compile("adam", "mse")
    model.fit(values(8, 12), values(8, 12), verbose=0)
    x = values(16, 12)
    path = tmp_path / "model.tflite"
    for quantization in ("float16", None):
        report = export_tflite(
            model, path, quantization=quantization, representative_dataset=x
        )
        assert len(kernels(report, (12, 12))) == 1


def test_embeddings_and_integer_inputs(tmp_path):
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(20, 8)(inputs)
    model = keras.Model(inputs, SharedStack(layers.Dense(8), "AA")(x))
    report = export_tflite(model, tmp_path / "model.tflite")
    assert len(kernels(report, (8, 8))) == 1


def test_dataset_may_be_a_generator_function(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])

    def dataset():
        for row in values(8, 4):
            yield [row[None]]

    report = export_tflite(
        model,
        tmp_path / "model.tflite",
        quantization="int8",
        representative_dataset=dataset,
    )
    assert not report.float_operators


def small():
    return keras.Sequential([keras.Input((4,)), layers.Dense(2)])


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    "model, kwargs, message",
    [
        (small, {"quantization": "int4"}, "one of float32.*'int4'. Quantize it first"),
        (small, {"quantization": "int8"}, "`representative_dataset` is needed"),
        (lambda: keras.Sequential([layers.Dense(2)]), {}, "is not built: add a"),
        (Subclassed, {}, r"(?s)Subclassed has no inputs.*keras.Model\(x, model\(x\)\)"),
        (lambda: layers.Dense(2), {}, "A Keras model is needed"),
        (
            small,
            {"representative_dataset": values(3, 5)},
            r"shape of the input.*\(None, 4\).*\(1, 5\)",
        ),
        (small, {"representative_dataset": values(0, 4)}, "at least one sample"),
        (
            small,
            {"representative_dataset": np.full((3, 4), np.nan, "float32")},
            "must be finite.*sample 0",
        ),
        (
            small,
            {"representative_dataset": [values(3, 4), values(3, 4)]},
            r"one array per input of the model \(1.*Received: 2",
        ),
        (
            small,
            {"representative_dataset": np.full((3, 4), "a")},
            "must have values of the input.*float32.*dtype <U1",
        ),
    ],
)
def test_errors_leave_nothing_behind(model, kwargs, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_tflite(model(), tmp_path / "model.tflite", **kwargs)
    assert os.listdir(tmp_path) == []


def test_a_path_that_cannot_be_written(tmp_path):
    with pytest.raises(OSError, match="existing folder"):
        export_tflite(small(), tmp_path / "missing" / "model.tflite")
    with pytest.raises(ValueError, match="a folder or a device"):
        export_tflite(small(), tmp_path)
    assert os.listdir(tmp_path) == []


def test_subclassed_models_can_be_wrapped(tmp_path):
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(8)

        def call(self, x):
            return self.dense(self.dense(x))

    inputs = keras.Input((8,))
    model = keras.Model(inputs, Model()(inputs))
    report = export_tflite(model, tmp_path / "model.tflite")
    assert [b.uses for b in kernels(report, (8, 8))] == [2]


def test_predict_errors(tmp_path):
    path = tmp_path / "model.tflite"
    export_tflite(small(), path)
    with pytest.raises(ValueError, match=r"The file takes {'.*'other': \(3, 4, 'fl"):
        keras_share.predict_tflite(path, {"other": values(3, 4)})
    with pytest.raises(ValueError, match="at least one"):
        keras_share.predict_tflite(path, values(0, 4))
