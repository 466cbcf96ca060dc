import keras
import numpy as np
import pytest
from dense_blocks import blocks
from keras import layers, ops
from random_data import randomize, values

from keras_share import SharedStack, Tied, Transposed
from keras_share.retrofit.find_sites import find_sites
from keras_share.retrofit.share import share
from keras_share.retrofit.untie import untie


def assert_equal(a, b):
    np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))


def assert_same_weights(a, b):
    assert [w.name for w in a.weights] == [w.name for w in b.weights]
    for x, y in zip(a.weights, b.weights, strict=True):
        assert_equal(x, y)


def kernel(model, name):
    layer = model.get_layer(name)
    layer = layer.layer if isinstance(layer, Tied) else layer
    return ops.convert_to_numpy(layer.kernel)


def train(model, x, y):
    model.compile("sgd", "mse", run_eagerly=True)
    return model.train_on_batch(x, y)


@pytest.mark.parametrize(
    "pattern, kernels",
    [
        ("shared", 1),
        ("unshared", 4),
        (None, 4),
        ("sequence:2", 2),
        ("AABA", 2),
        ([0, 0, 0, 1], 2),
        ({"dense_0": "cycle:2"}, 2),
        ({}, 4),
        ([["dense_0", "dense_3"]], 3),
        ([("dense_1", "dense_2"), ["dense_3", "dense_0"], ["norm_0"]], 2),
    ],
)
@pytest.mark.parametrize("private, own", [("normalization", 16), (None, 0)])
def test_parameters(pattern, kernels, private, own):
    model = blocks()
    shared = share(model, pattern, private=private)
    norms = 4 * 16
    named = isinstance(pattern, list) and not isinstance(pattern[0], int)
    if own == 0 and not named:
        norms = kernels * 16
    assert shared.count_params() == kernels * 20 + norms + 10
    assert [layer.name for layer in shared.layers] == [
        layer.name for layer in model.layers
    ]


def test_trains():
    shared = share(blocks(), "AABA")
    assert np.isfinite(train(shared, values(8, 4), values(8, 2)))


def test_weights_are_the_mean_and_private_ones_their_own():
    model = blocks()
    shared = share(model, "ABAA")
    mean = np.mean([kernel(model, f"dense_{i}") for i in (0, 2, 3)], axis=0)
    np.testing.assert_allclose(kernel(shared, "dense_2"), mean, rtol=1e-6)
    assert_equal(kernel(shared, "dense_1"), kernel(model, "dense_1"))
    for i in range(4):
        name = f"norm_{i}"
        assert_same_weights(shared.get_layer(name), model.get_layer(name))


@pytest.mark.parametrize("init, member", [("first", 1), ("last", 3)])
def test_weights_of_one_member(init, member):
    model = blocks()
    # In the order of the model, not of the list.
    shared = share(model, [["dense_3", "dense_1"]], init=init)
    assert_equal(kernel(shared, "dense_1"), kernel(model, f"dense_{member}"))
    assert shared.get_layer("dense_3").layer is shared.get_layer("dense_1")


def test_private_weights_inside_a_layer():
    model = blocks()
    for private in ("bias", lambda v: v.name == "bias", ["bias", "normalization"]):
        shared = share(model, "shared", private=private)
        own = 4 if isinstance(private, list) else 1
        assert shared.count_params() == 16 + 4 * 4 + own * 16 + 10
        for i in range(4):
            layer = shared.get_layer(f"dense_{i}")
            bias = layer.private_copies[0][1] if i else layer.bias
            assert_equal(bias, model.get_layer(f"dense_{i}").bias)


def test_whole_numbers_have_no_mean():
    class Counting(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(1,))
            self.count = self.add_weight(shape=(), dtype="int32", trainable=False)

        def call(self, x):
            return x * self.kernel

    model = keras.Sequential([keras.Input((4,)), Counting(), Counting()])
    for i, layer in enumerate(model.layers):
        layer.set_weights([np.array([i]), np.array(3 + i)])
    shared = share(model, "shared")
    assert [ops.convert_to_numpy(w).item() for w in shared.weights] == [0.5, 3]


def test_the_model_is_not_changed():
    model = blocks()
    model.compile("adam", "mse", run_eagerly=True)
    x, y = values(8, 4), values(8, 2)
    model.train_on_batch(x, y)
    before = [ops.convert_to_numpy(w).copy() for w in model.weights]
    config = model.to_json()
    shared = share(model, "shared")
    assert not {id(w) for w in model.weights} & {id(w) for w in shared.weights}
    train(shared, x, y)
    for weight, value in zip(model.weights, before, strict=True):
        assert_equal(weight, value)
    assert model.to_json() == config
    model.train_on_batch(x, y)


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_is_not_compiled_and_starts_a_new_optimizer(kind):
    model = blocks()
    if kind == "functional":
        inputs = keras.Input((4,))
        model = keras.Model(inputs, model(inputs))
    x, y = values(8, 4), values(8, 2)
    model.compile("adam", "mse", run_eagerly=True)
    model.train_on_batch(x, y)
    shared = share(model, "shared")
    assert not shared.compiled
    # The states of the old one would not fit: three kernels and biases are gone.
    shared.compile("adam", "mse", run_eagerly=True)
    shared.train_on_batch(x, y)
    assert int(shared.optimizer.iterations) == 1
    old, new = (len(m.optimizer.variables) for m in (model, shared))
    assert new == old - 2 * (3 * 2)


def test_unshared_is_the_model():
    model = blocks()
    same = share(model, "unshared")
    assert_same_weights(same, model)
    x = values(8, 4)
    assert_equal(same(x), model(x))


def test_round_trip_is_tied(tmp_path):
    inputs = keras.Input((4,))
    stage = blocks(2)
    x = stage(inputs)
    x = layers.Dense(4, name="between")(x)
    model = randomize(keras.Model(inputs, {"out": blocks(2, name="top")(x)}))
    shared = share(model, "shared")
    x = values(8, 4)
    train(shared, x, {"out": values(8, 2)})
    shared.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.count_params() == shared.count_params()
    assert_equal(loaded(x)["out"], shared(x)["out"])


def nested():
    """Two models of two layers, in a model of one layer."""

    def part(name):
        x = inputs = keras.Input((4,), name=f"{name}_in")
        for i in range(2):
            x = layers.Add()([x, layers.Dense(4, name=f"dense_{i}")(x)])
        return keras.Model(inputs, x, name=name)

    x = inputs = keras.Input((4,), name="in")
    for name in ("one", "two"):
        x = part(name)(x)
    x = layers.Add()([x, layers.Dense(4, name="outer")(x)])
    return randomize(keras.Model(inputs, x, name="whole"))


def test_nested_models(tmp_path):
    model = nested()
    shared = share(model, "AABBA")
    assert shared.count_params() == 2 * 20
    one, two = shared.get_layer("one"), shared.get_layer("two")
    assert two.get_layer("dense_1").layer is two.get_layer("dense_0")
    assert shared.get_layer("outer").layer is one.get_layer("dense_0")
    shared.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = values(8, 4)
    assert_equal(loaded(x), shared(x))
    assert loaded.count_params() == 2 * 20
    untied = untie(shared)
    assert [w.path for w in untied.weights] == [w.path for w in model.weights]
    assert_equal(untied(x), shared(x))
    # Layers by path, across models.
    shared = share(model, [["two/dense_0", "outer"], ["one/dense_0", "one/dense_1"]])
    assert shared.count_params() == 3 * 20
    assert shared.get_layer("outer").layer is shared.get_layer("two").get_layer(
        "dense_0"
    )


def test_layers_with_several_inputs():
    x = inputs = keras.Input((5, 4), name="x")
    context = keras.Input((3, 4), name="context")
    for i in range(3):
        attention = layers.MultiHeadAttention(2, 2, name=f"attention_{i}")
        y = attention(query=x, value=context, key=context)
        x = layers.LayerNormalization(name=f"norm_{i}")(x + y)
    model = randomize(keras.Model({"x": inputs, "context": context}, x))
    shared = share(model, "ABA")
    assert shared.count_params() == 2 * 80 + 3 * 8
    data = {"x": values(2, 5, 4), "context": values(2, 3, 4)}
    assert shared(data).shape == (2, 5, 4)
    untied = untie(shared)
    assert_equal(untied(data), shared(data))
    assert [w.path for w in untied.weights] == [w.path for w in model.weights]


def test_a_nested_model_may_use_what_is_called_before_it():
    # Its copy is made, and thus built, before the layers around it are called.
    x = inputs = keras.Input((5, 4))
    inner = keras.Model(x, layers.MultiHeadAttention(2, 2, name="inside")(x, x))
    x = inner(layers.MultiHeadAttention(2, 2, name="before")(x, x))
    shared = share(randomize(keras.Model(inputs, x)), "shared")
    assert shared.count_params() == 80
    before = shared.get_layer("before")
    assert shared.get_layer(inner.name).get_layer("inside").layer is before


def test_masks_reach_recurrent_layers():
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(inputs)
    for i in range(3):
        x = layers.GRU(4, return_sequences=i < 2, name=f"gru_{i}")(x)
    model = randomize(keras.Model(inputs, x))
    shared = share(model, "shared", init="first")
    assert (
        shared.count_params() == model.count_params() - model.layers[2].count_params()
    )
    padded = np.array([[3, 4, 0, 0, 0, 0]])
    assert_equal(untie(shared)(padded), shared(padded))
    long, short = (ops.convert_to_numpy(shared(x)) for x in (padded, padded[:, :2]))
    np.testing.assert_allclose(long, short, rtol=1e-5)


def test_ties_of_the_model_stay():
    inner = layers.Dense(4, name="inner")
    x = inputs = keras.Input((4,))
    x = Tied(inner, private="bias", name="again")(inner(x))
    x = SharedStack(layers.Dense(4), "AAB", name="stack")(x)
    for i in range(2):
        x = layers.Dense(4, use_bias=False, name=f"dense_{i}")(x)
    model = randomize(keras.Model(inputs, x))
    shared = share(model, "shared")
    assert shared.count_params() == model.count_params() - 16
    assert shared.get_layer("again").layer is shared.get_layer("inner")
    for name in ("again", "stack"):
        assert_same_weights(shared.get_layer(name), model.get_layer(name))


class Doubling(keras.Model):
    """A model with a training step of its own."""

    def train_step(self, *args, **kwargs):
        return {"loss": 2.0}


class Own(keras.Model):
    """A model that is built by its constructor, as those of KerasHub are."""

    def __init__(self, width, **kwargs):
        inputs = keras.Input((width,))
        x = layers.Dense(width)(layers.Dense(width)(inputs))
        super().__init__(inputs, x, **kwargs)


def test_class_of_the_model():
    inputs = keras.Input((4,))
    model = Doubling(inputs, blocks()(inputs), name="doubling")
    shared = share(model, "shared")
    assert type(shared) is Doubling and shared.name == "doubling"
    shared = share(Own(4, name="own"), "shared")
    assert shared.count_params() == 20 and shared.name == "own"
    assert not isinstance(shared, Own)
    assert type(share(blocks(), "shared")) is keras.Sequential


def test_what_is_frozen_stays_frozen():
    model = nested()
    model.get_layer("two").trainable = False
    shared = share(model, [["one/dense_0", "outer"], ["two/dense_0", "two/dense_1"]])
    assert len(shared.trainable_weights) == 2 * 2
    assert not shared.get_layer("two").trainable

    composite = [layers.MultiHeadAttention(2, 2) for _ in range(2)]
    x = inputs = keras.Input((5, 4))
    for layer in composite:
        x = layer(x, x)
        layer.output_dense.trainable = False
    shared = share(keras.Model(inputs, x), "shared")
    assert len(shared.trainable_weights) == 6


def test_what_layers_derive_from_their_weights():
    inputs = keras.Input((4,))
    scale = layers.Normalization()
    scale.adapt(values(16, 4) + 3)
    model = keras.Model(inputs, blocks()(scale(inputs)))
    x = values(8, 4)
    assert_equal(share(model, "unshared")(x), model(x))


def test_lists_and_shares_the_same():
    model = blocks()
    table = find_sites(model)
    shared = share(model, "shared", private=None)
    saved = table[table["site"] > 0]["params"].sum()
    assert shared.count_params() == model.count_params() - saved


def test_a_transposed_use_stays_one():
    first = layers.Dense(3, name="first")
    stack = [layers.Dense(3, name=f"hidden_{i}") for i in range(3)]
    model = keras.Sequential(
        [keras.Input((5,)), first, *stack, Transposed(first, name="last")]
    )
    x = values(4, 5)
    for other in (share(model, "unshared"), untie(share(model, "shared"))):
        last = other.get_layer("last")
        assert last.source is other.get_layer("first")
    same = share(model, "unshared")
    assert_equal(model(x), same(x))
