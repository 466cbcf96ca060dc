import io
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import JIT, randomize, values

from keras_share.layers import TiedCloner
from keras_share.layers.embeddings import FactorizedEmbedding
from keras_share.layers.transposed import Transposed

ROWS, COLUMNS = 7, 4


def numpy(x):
    return ops.convert_to_numpy(x)


def built(kind):
    if kind == "dense":
        layer = layers.Dense(COLUMNS, name="source")
        layer.build((None, ROWS))
    else:
        layer = layers.Embedding(ROWS, COLUMNS, name="source")
        layer.build()
    return layer


def autoencoder(**kwargs):
    inputs = keras.Input((ROWS,))
    encoder = layers.Dense(COLUMNS, activation="tanh", name="encoder")
    decoder = Transposed(encoder, name="decoder", **kwargs)
    return randomize(keras.Model(inputs, decoder(encoder(inputs))))


def language_model():
    ids = keras.Input((3,), dtype="int32")
    table = layers.Embedding(ROWS, COLUMNS, name="table")
    hidden = layers.Dense(COLUMNS, activation="tanh", name="hidden")(table(ids))
    return randomize(keras.Model(ids, Transposed(table, name="head")(hidden)))


def change(model, x, y):
    """What a step of gradient descent of size 1 takes off each weight, by path."""
    model.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=JIT)
    before = {w.path: numpy(w) for w in model.weights}
    model.train_on_batch(x, y)
    return {w.path: before[w.path] - numpy(w) for w in model.weights}


def stored_values(path):
    """How many numbers a .keras file holds, the optimizer's left out."""
    with zipfile.ZipFile(path) as archive:
        raw = io.BytesIO(archive.read("model.weights.h5"))
    sizes = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            sizes.append(item.size)

    with h5py.File(raw) as file:
        file.visititems(visit)
    return sum(sizes)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 3, 5)])
@pytest.mark.parametrize("kind", ["dense", "embedding"])
def test_multiplies_by_the_transposed_matrix(kind, shape, activation, use_bias):
    source = built(kind)
    layer = Transposed(
        source, activation=activation, use_bias=use_bias, bias_initializer="normal"
    )
    x = values(*shape, COLUMNS)
    expected = x @ numpy(source.weights[0]).T
    actual = layer(x)
    if use_bias:
        expected = expected + numpy(layer.bias)
    if activation:
        expected = np.maximum(expected, 0)
    np.testing.assert_allclose(numpy(actual), expected, atol=1e-6)
    assert layer.compute_output_shape(x.shape) == (*shape, ROWS)
    assert len(layer.weights) == len(source.weights) + use_bias


def test_the_bias_takes_a_regularizer_and_a_constraint():
    layer = Transposed(built("dense"), bias_regularizer="l2", bias_constraint="non_neg")
    layer.build((None, COLUMNS))
    assert type(layer.bias.constraint) is keras.constraints.NonNeg
    assert len(layer.losses) == 1
    assert layer.get_config()["bias_regularizer"]["class_name"] == "L2"


def test_gradient_of_the_kernel_is_the_sum_over_both_uses():
    model = autoencoder()
    kernel, inner_bias, outer_bias = model.get_weights()
    inputs = keras.Input((ROWS,))
    codes = layers.Dense(COLUMNS, "tanh", name="encoder")(inputs)
    plain = keras.Model(inputs, layers.Dense(ROWS, name="decoder")(codes))
    plain.set_weights([kernel, inner_bias, kernel.T, outer_bias])
    x = values(16, ROWS)
    ours, theirs = change(model, x, x), change(plain, x, x)
    uses = theirs["encoder/kernel"], theirs["decoder/kernel"].T
    assert min(np.abs(use).max() for use in uses) > 1e-3
    np.testing.assert_allclose(ours["encoder/kernel"], sum(uses), rtol=1e-4, atol=1e-6)
    for name in ("encoder/bias", "decoder/bias"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-6)


def test_gradient_of_a_table_is_the_sum_over_both_uses():
    model = language_model()
    table, kernel, hidden_bias, head_bias = model.get_weights()
    ids = keras.Input((3,), dtype="int32")
    x = layers.Embedding(ROWS, COLUMNS, name="table")(ids)
    x = layers.Dense(COLUMNS, "tanh", name="hidden")(x)
    plain = keras.Model(ids, layers.Dense(ROWS, name="head")(x))
    plain.set_weights([table, kernel, hidden_bias, table.T, head_bias])
    x, y = np.array([[0, 1, 2], [5, 5, 2]], "int32"), values(2, 3, ROWS)
    ours, theirs = change(model, x, y), change(plain, x, y)
    uses = theirs["table/embeddings"], theirs["head/kernel"].T
    assert min(np.abs(use).max() for use in uses) > 1e-3
    np.testing.assert_allclose(
        ours["table/embeddings"], sum(uses), rtol=1e-4, atol=1e-6
    )


@keras.saving.register_keras_serializable(package="test_transposed")
class Composite(layers.Layer):
    """Holds a Dense layer, and has no `build`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(COLUMNS)

    def call(self, x):
        return self.dense(x)


def sequential():
    encoders = [layers.Dense(5, "tanh"), layers.Dense(COLUMNS, "tanh")]
    decoders = [Transposed(layer) for layer in reversed(encoders)]
    return keras.Sequential([keras.Input((ROWS,)), *encoders, *decoders])


def composite():
    layer = Composite()
    return keras.Sequential([keras.Input((ROWS,)), layer, Transposed(layer, "dense")])


def nested():
    inner = keras.Sequential([keras.Input((ROWS,)), layers.Dense(COLUMNS, name="in")])
    outer = keras.Sequential([inner, layers.Dense(COLUMNS, "relu")], name="outer")
    inputs = keras.Input((ROWS,))
    path = f"{inner.name}.in"
    return keras.Model(inputs, Transposed(outer, path)(outer(inputs)))


def several():
    first = layers.Dense(COLUMNS)
    inputs, codes = keras.Input((ROWS,)), keras.Input((COLUMNS,))
    encoded = first(inputs)
    heads = [Transposed(first, activation=a)(codes) for a in ("relu", None)]
    return keras.Model([codes, inputs], [*heads, first(heads[1]), encoded])


@pytest.mark.filterwarnings("ignore:.build\\(\\). was called on layer")
@pytest.mark.parametrize(
    "make", [autoencoder, language_model, sequential, composite, nested, several]
)
def test_round_trip_is_tied_and_bit_exact(make, tmp_path):
    model = randomize(make())
    model.save(tmp_path / "model.keras")
    assert stored_values(tmp_path / "model.keras") == model.count_params()
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.count_params() == model.count_params()
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(numpy(ours), numpy(theirs))
    for weight in loaded.weights:  # tied: what one use gets, the other one has
        weight.assign(weight + 1)
    for weight in model.weights:
        weight.assign(weight + 1)
    x = [np.ones((2, *t.shape[1:]), t.dtype) for t in model.inputs]
    x = x if len(x) > 1 else x[0]
    ours, theirs = (keras.tree.flatten(m(x)) for m in (model, loaded))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(numpy(a), numpy(b))


def test_count_of_parameters():
    assert autoencoder().count_params() == ROWS * COLUMNS + COLUMNS + ROWS
    assert language_model().count_params() == ROWS * COLUMNS + 4 * 4 + 4 + ROWS
    assert len(autoencoder(use_bias=False).weights) == 2


def test_weights_of_an_outer_layer_are_not_its_own():
    outer = keras.Sequential(
        [keras.Input((ROWS,)), layers.Dense(3), layers.Dense(COLUMNS, name="last")]
    )
    layer = Transposed(outer, "last")
    layer(values(2, COLUMNS))
    assert [tuple(w.shape) for w in layer.weights] == [(3,), (3, COLUMNS), (COLUMNS,)]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", [layers.Dense, layers.Embedding])
def test_follows_the_dtype_of_the_layer_unless_told_otherwise(kind, policy):
    if kind is layers.Dense:
        source = kind(COLUMNS, dtype=policy)
        source.build((None, ROWS))
    else:
        source = kind(ROWS, COLUMNS, dtype=policy)
        source.build()
    x = values(2, COLUMNS)
    half = Transposed(source)(x)
    assert keras.backend.standardize_dtype(half.dtype) == policy.removeprefix("mixed_")
    full = Transposed(source, dtype="float32")(x)
    assert keras.backend.standardize_dtype(full.dtype) == "float32"
    expected = x @ numpy(source.weights[0]).T
    np.testing.assert_allclose(numpy(full), expected, atol=1e-6)
    np.testing.assert_allclose(numpy(ops.cast(half, "float32")), expected, atol=0.05)


def test_regularizers_count_once():
    model = autoencoder()
    source = model.get_layer("encoder")
    source.kernel.regularizer = keras.regularizers.L2(1.0)
    assert len(model.losses) == 1


def test_freezing_the_layer_leaves_the_bias_to_train():
    model = autoencoder()
    model.get_layer("encoder").trainable = False
    assert [w.path for w in model.trainable_weights] == ["decoder/bias"]


def test_passes_masks_on():
    x = layers.Embedding(5, COLUMNS, mask_zero=True)(np.array([[1, 2, 0]]))
    y = Transposed(built("dense"))(x)
    mean = layers.GlobalAveragePooling1D()(y)  # of what is not masked
    np.testing.assert_allclose(numpy(mean), numpy(y)[:, :2].mean(axis=1), atol=1e-6)


@pytest.mark.skipif(
    not hasattr(layers, "ReversibleEmbedding"), reason="Keras has it from 3.13 on"
)
def test_reads_a_table_that_keras_can_reverse():
    table = layers.ReversibleEmbedding(ROWS, COLUMNS)
    table.build()
    x = values(2, COLUMNS)
    np.testing.assert_allclose(
        numpy(Transposed(table, use_bias=False)(x)),
        numpy(table(x, reverse=True)),
        atol=1e-6,
    )


def test_use_of_another_layer():
    layer = Transposed(built("dense"), activation="relu", dtype="float16", name="a")
    other = layer.use_of(layers.Dense(COLUMNS), name="b")
    assert other.matrix.shape == (ROWS, COLUMNS)
    assert (other.name, other.dtype_policy.name) == ("b", "float16")
    assert other.activation is layer.activation


def test_trains_compiled():
    model = sequential()
    model.compile("adam", "mse", jit_compile=JIT)
    model.optimizer.build(model.trainable_variables)  # else Keras traces twice
    x = values(64, ROWS)
    losses = model.fit(x, x, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def quantized():
    source = built("dense")
    source.quantize("int8")
    return Transposed(source)(values(2, COLUMNS))


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: Transposed(layers.LayerNormalization()),
            r"must be a keras.layers.Dense or .*Embedding.*LayerNormalization",
        ),
        (
            lambda: Transposed(FactorizedEmbedding(5, 2, 3)),
            r"Inside: \['embedding', 'projection'\].*part=None",
        ),
        (
            lambda: Transposed(FactorizedEmbedding(5, 2, 3), "table"),
            r"Inside: \['embedding', 'projection'\].*part='table'",
        ),
        (
            lambda: Transposed(layers.Dense(3, name="late"))(values(2, 3)),
            r"must be built before.*Call 'late'",
        ),
        (
            lambda: Transposed(built("dense"), name="head")(values(2, 5)),
            r"'head' must be as wide as the output of 'source' \(4\).*\(2, 5\)",
        ),
        (quantized, r"'source' is quantized \(int8\).*Leave that layer out"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make", [autoencoder, language_model, sequential, composite, nested, several]
)
def test_cloner_keeps_the_tie(make):
    model = randomize(make())
    clone = keras.models.clone_model(model, clone_function=TiedCloner())
    assert clone.count_params() == model.count_params()
    assert not {id(w) for w in clone.weights} & {id(w) for w in model.weights}
    clone.set_weights(model.get_weights())
    x = [np.ones((2, *t.shape[1:]), t.dtype) for t in model.inputs]
    x = x if len(x) > 1 else x[0]
    for a, b in zip(*(keras.tree.flatten(m(x)) for m in (model, clone)), strict=True):
        np.testing.assert_array_equal(numpy(a), numpy(b))
