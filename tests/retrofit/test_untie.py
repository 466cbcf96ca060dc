import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

from keras_share import SharedStack, Tied
from keras_share.layers.relax.affine import StepEmbedding
from keras_share.layers.relax.low_rank import LowRank
from keras_share.layers.relax.relaxed import Relaxed
from keras_share.layers.relax.scale import Scale
from keras_share.layers.relax.templates import Templates
from keras_share.layers.sublayers import sublayers
from keras_share.retrofit.share import share
from keras_share.retrofit.untie import untie


def assert_untied(model, *shape, params):
    """Untied, of this size, and with the same outputs."""
    untied = untie(model)
    assert untied.count_params() == params
    assert not any(isinstance(part, Tied) for part in sublayers(untied))
    assert not untied.compiled
    x = values(3, *shape)
    for training in (False, True):
        a, b = (ops.convert_to_numpy(m(x, training=training)) for m in (untied, model))
        np.testing.assert_array_equal(a, b)
    return untied


def block():
    return keras.Sequential([layers.Dense(4), layers.BatchNormalization()])


@pytest.mark.parametrize("private", [None, "normalization", ["bias", "kernel"]])
def test_tied_layers(private):
    inner = block()
    x = inputs = keras.Input((4,))
    for layer in (
        inner,
        Tied(inner, private, name="a"),
        Tied(inner, private, name="b"),
    ):
        x = layer(x)
    model = randomize(keras.Model(inputs, x))
    untied = assert_untied(model, 4, params=3 * 36)
    assert [layer.name for layer in untied.layers[2:]] == ["a", "b"]
    assert isinstance(untied.layers[2], keras.Sequential)


def test_a_layer_that_is_only_used_by_ties():
    inner = layers.Dense(4)
    model = keras.Sequential([keras.Input((4,)), Tied(inner), Tied(inner, "bias")])
    assert_untied(randomize(model), 4, params=2 * 20)


@pytest.mark.parametrize("pattern", ["AAA", "ABA", "ABC"])
@pytest.mark.parametrize("private", [None, "normalization"])
def test_stacks(pattern, private):
    stack = SharedStack(block(), pattern, private=private, name="stack")
    model = randomize(keras.Sequential([keras.Input((4,)), stack]))
    untied = assert_untied(model, 4, params=3 * 36)
    layer = untied.get_layer("stack")
    assert isinstance(layer, SharedStack)
    assert str(layer.pattern) == "ABC"
    assert layer.private == stack.private


def test_stack_with_patterns_of_parts():
    block = keras.Sequential([layers.Dense(4, name="a"), layers.Dense(4, name="b")])
    stack = SharedStack(block, {"a": "AAAA", "b": "ABAB"}, name="stack")
    model = randomize(keras.Sequential([keras.Input((4,)), stack]))
    assert model.count_params() == 3 * 20
    untied = assert_untied(model, 4, params=4 * 40)
    assert not untied.get_layer("stack").patterns


@pytest.mark.parametrize(
    "relax",
    [LowRank(2), Scale(), Templates(3, seed=0), [LowRank(1), Scale()]],
    ids=repr,
)
def test_relaxed_layers(relax):
    relaxed = Relaxed(layers.Dense(4), relax, num_sites=2)
    stack = SharedStack(block(), "AAB", relax=relax, name="stack")
    layers_ = [keras.Input((4,)), relaxed, Tied(relaxed, name="again"), stack]
    model = randomize(keras.Sequential(layers_))
    untied = assert_untied(model, 4, params=2 * 20 + 3 * 36)
    assert not any(isinstance(part, Relaxed) for part in sublayers(untied))


def test_layers_of_relaxations_stay():
    stack = SharedStack(layers.Dense(4), "AA", relax=[StepEmbedding(), LowRank(1)])
    model = randomize(keras.Sequential([keras.Input((3, 4)), stack]))
    assert_untied(model, 3, 4, params=2 * (20 + 4 + 8))


def test_stack_of_layers_with_several_inputs():
    class Attending(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.attention = layers.MultiHeadAttention(1, 4)

        def build(self, x_shape, context_shape):
            self.attention.build(x_shape, context_shape)

        def call(self, x, context):
            return x + self.attention(x, context)

    x = keras.Input((3, 4))
    attending = [Attending(name=f"attending_{i}") for i in range(2)]
    for layer in attending:
        layer.build((None, 3, 4), (None, 3, 4))
    y = SharedStack(attending, "ABA")(x, x)
    assert_untied(randomize(keras.Model(x, y)), 3, 4, params=3 * 80)


def test_stacks_and_ties_inside_one_another():
    inner = layers.Dense(4, name="inner")
    twice = keras.Sequential(
        [keras.Input((4,)), inner, Tied(inner, private="bias", name="again")]
    )
    stack = SharedStack(twice, "AAB", private=["bias", "again"], name="stack")
    x = inputs = keras.Input((4,))
    x = Tied(stack, private="bias", name="later")(stack(x))
    model = randomize(keras.Model(inputs, x))
    assert_untied(model, 4, params=2 * 3 * 2 * 20)


def test_undoes_share():
    model = keras.Sequential([keras.Input((4,)), block(), block(), block()])
    randomize(model)
    untied = assert_untied(share(model, "ABA"), 4, params=3 * 36)
    assert [layer.name for layer in untied.layers] == [
        layer.name for layer in model.layers
    ]
    same = untie(share(model, "unshared"))
    x = values(3, 4)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(same(x)), ops.convert_to_numpy(model(x))
    )
    for a, b in zip(same.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))


def test_reuse_by_keras_stays():
    dense = layers.Dense(4)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Tied(dense, "bias")(dense(dense(inputs))))
    assert_untied(randomize(model), 4, params=2 * 20)


def test_the_model_is_not_changed():
    model = keras.Sequential([keras.Input((4,)), SharedStack(block(), "AA")])
    randomize(model)
    before = [ops.convert_to_numpy(w).copy() for w in model.weights]
    untied = untie(model)
    assert not {id(w) for w in model.weights} & {id(w) for w in untied.weights}
    untied.compile("sgd", "mse", run_eagerly=True)
    untied.train_on_batch(values(8, 4), values(8, 4))
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), value)


class Holding(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stack = SharedStack(layers.Dense(4), "AA")

    def build(self, shape):
        self.stack.build(shape)

    def call(self, x):
        return self.stack(x)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: keras.Sequential([keras.Input((4,)), Holding(name="mine")]),
            "'mine' of type Holding holds a `Tied`.*only its own code",
        ),
        (lambda: keras.Sequential([layers.Dense(4)]), "is not built"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        untie(make())
