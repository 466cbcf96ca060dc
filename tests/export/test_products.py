import keras
import numpy as np
import pytest
from keras import layers
from random_data import randomize, values

import keras_share
from keras_share import FactorizedEmbedding, SharedStack, Transposed, export_tflite

SCHEMES = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}
IDS = np.random.default_rng(0).integers(0, 60, (20, 6)).astype("int32")


def export(model, path, quantization, data):
    return export_tflite(
        randomize(model),
        path / "model.tflite",
        quantization=quantization,
        representative_dataset=data,
    )


def stored(report, *shape):
    """Bytes of the buffers with so many values, whatever their order of axes."""
    return [b.nbytes for b in report.buffers if np.prod(b.shape) == np.prod(shape)]


def head(kind):
    """A look-up in a 60 x 32 table, and logits by the same table."""
    ids = keras.Input((6,), dtype="int32")
    if kind == "table":
        table = layers.Embedding(60, 32)
        x = layers.Dense(32, "relu")(table(ids))
        return keras.Model(ids, Transposed(table)(x))
    words = FactorizedEmbedding(60, 32, 40)
    x = layers.Dense(40, "relu")(words(ids))
    if kind == "own":
        x = layers.Dense(32, "tanh")(x)
    else:
        x = Transposed(words, "projection", use_bias=False)(x)
    return keras.Model(ids, Transposed(words, "embedding")(x))


@pytest.mark.parametrize(
    "kind, quantization",
    [
        *(("table", scheme) for scheme in SCHEMES),
        ("own", "int8"),
        ("projection", "int8"),
    ],
)
def test_a_table_and_its_output_layer_are_one(kind, quantization, tmp_path):
    report = export(head(kind), tmp_path, quantization, IDS)
    assert stored(report, 60, 32) == [60 * 32 * SCHEMES[quantization]]
    projections = stored(report, 32, 40)
    assert len(projections) == {"table": 0, "own": 2, "projection": 1}[kind]
    assert report.duplicate_bytes == 0
    assert bool(report.float_operators) == (quantization != "int8")


@pytest.mark.parametrize(
    "rank, quantization",
    [*((2, scheme) for scheme in SCHEMES), (3, "dynamic"), (4, "int8")],
)
def test_a_dense_layer_and_its_transposed_use_are_one(rank, quantization, tmp_path):
    inputs = keras.Input((*(3,) * (rank - 2), 48))
    first, second = layers.Dense(40, "relu"), layers.Dense(32, use_bias=False)
    x = Transposed(second, activation="relu")(second(first(inputs)))
    model = keras.Model(inputs, Transposed(first, use_bias=False)(x))
    report = export(model, tmp_path, quantization, values(20, *inputs.shape[1:]))
    size = SCHEMES[quantization]
    assert stored(report, 48, 40) == [48 * 40 * size]
    assert stored(report, 40, 32) == [40 * 32 * size]
    assert bool(report.float_operators) == (quantization != "int8")


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_normalization_beside_it_is_not_folded(quantization, tmp_path):
    inputs = keras.Input((40,))
    dense = layers.Dense(40)
    x = layers.BatchNormalization()(dense(inputs))
    x = Transposed(dense)(layers.ReLU()(x))
    x = dense(layers.BatchNormalization()(x))
    model = keras.Model(inputs, x)
    report = export(model, tmp_path, quantization, values(20, 40))
    assert stored(report, 40, 40) == [40 * 40 * SCHEMES[quantization]]


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_a_table_that_is_looked_up_twice_is_one(quantization, tmp_path):
    ids = keras.Input((6,), dtype="int32")
    table = layers.Embedding(60, 32)
    model = keras.Model(ids, table(ids[:, :2]) + 2 * table(ids[:, 4:]))
    report = export(model, tmp_path, quantization, IDS)
    assert stored(report, 60, 32) == [60 * 32 * SCHEMES[quantization]]


@pytest.mark.skipif(
    not hasattr(layers, "ReversibleEmbedding"), reason="Keras has it from 3.13 on"
)
@pytest.mark.parametrize("quantization", ["float32", "dynamic", "int8"])
def test_a_reversible_table_is_one(quantization, tmp_path):
    ids = keras.Input((6,), dtype="int32")
    table = layers.ReversibleEmbedding(60, 32)
    x = layers.Dense(32, "relu")(table(ids))
    model = keras.Model(ids, table(x, reverse=True))
    report = export(model, tmp_path, quantization, IDS)
    assert stored(report, 60, 32) == [60 * 32 * SCHEMES[quantization]]


@keras.saving.register_keras_serializable(package="test_products")
class Tower(layers.Layer):
    """A residual block around a Dense layer and its transposed use."""

    def build(self, shape):
        self.up = layers.Dense(40, "relu", name="up")
        self.up.build(shape)
        self.down = Transposed(self.up, name="down")
        self.down.build((*shape[:-1], 40))

    def call(self, x):
        return x + self.down(self.up(x))


@pytest.mark.parametrize(
    "private, kernels", [(None, 2), ("bias", 2), ("down", 3), ("kernel", 3)]
)
def test_blocks_that_share_at_several_sites(private, kernels, tmp_path):
    inputs = keras.Input((32,))
    stack = SharedStack(Tower(), "AAB", private=private)
    model = keras.Model(inputs, stack(inputs))
    report = export(model, tmp_path, "float32", values(4, 32))
    assert stored(report, 32, 40) == [32 * 40 * 4] * kernels


def test_the_transposed_use_may_come_first(tmp_path):
    dense = layers.Dense(40, name="dense")
    codes, inputs = keras.Input((40,), name="codes"), keras.Input((32,), name="inputs")
    encoded = dense(inputs)
    model = keras.Model([codes, inputs], [Transposed(dense)(codes), encoded])
    report = export_tflite(randomize(model), tmp_path / "model.tflite")
    assert stored(report, 32, 40) == [32 * 40 * 4]


@pytest.mark.parametrize("activation", [None, "relu"])
def test_quantization_keeps_one_matrix_for_both_uses(activation, tmp_path):
    inputs = keras.Input((48,))
    dense = layers.Dense(40, activation, name="encoder")
    x = layers.Dense(40, "relu", name="middle")(dense(inputs))
    model = randomize(keras.Model(inputs, Transposed(dense, name="decoder")(x)))
    x = values(20, 48)
    quantized = keras_share.quantize_model(model, x, strict=True)
    assert len(quantized.trainable_weights) == len(model.trainable_weights)
    path = tmp_path / "model.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators
    assert stored(report, 48, 40) == [48 * 40]
    assert stored(report, 40, 40) == [40 * 40]


def test_quantization_keeps_one_table_for_look_up_and_head(tmp_path):
    ids = np.random.default_rng(0).integers(0, 50, (20, 6)).astype("int32")
    inputs = keras.Input((6,), dtype="int32")
    table = layers.Embedding(50, 16)
    x = layers.Dense(16, "relu")(table(inputs))
    model = randomize(keras.Model(inputs, Transposed(table)(x)))
    quantized = keras_share.quantize_model(model, ids, strict=True)
    quantized.save(tmp_path / "model.keras")
    quantized = keras.models.load_model(tmp_path / "model.keras")
    assert len(quantized.trainable_weights) == len(model.trainable_weights)
    path = tmp_path / "model.tflite"
    report = export_tflite(quantized, path, representative_dataset=ids)
    assert not report.float_operators
    [stored_table] = [b for b in report.buffers if b.nbytes == 50 * 16]
    assert (stored_table.dtype, stored_table.uses) == ("int8", 2)
    simulated = np.asarray(quantized(ids))
    step = np.ptp(simulated) / 255
    assert np.abs(keras_share.predict_tflite(path, ids) - simulated).max() <= 2.1 * step
