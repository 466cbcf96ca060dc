import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import values

from keras_share import SharedStack, Tied, share, untie
from keras_share.layers import TiedCloner
from keras_share.layers.copying import copy_layer


class Doubled(layers.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.times = float(factor)

    def get_config(self):
        return super().get_config()

    def call(self, x):
        return x * self.times


class Kept(Doubled):
    def __init__(self, factor, activation="relu", *, start="ones", **kwargs):
        super().__init__(factor=factor, **kwargs)
        self.factor = factor
        self._activation = keras.activations.get(activation)
        self.start = keras.initializers.get(start)

    def get_config(self):
        return {**super().get_config(), "lost": self.lost}


def test_a_copy_has_the_config_but_for_changes():
    dense = layers.Dense(4, activation="relu", name="one")
    dense.build((None, 3))
    copy = copy_layer(dense, name="other", units=5, filters=7)
    assert (copy.name, copy.units, copy.built) == ("other", 5, False)
    assert copy.activation is keras.activations.relu


def test_a_layer_inside_need_not_be_registered():
    class Own(layers.Layer):
        def call(self, x):
            return x

    copy = copy_layer(layers.TimeDistributed(Own(name="own")))
    assert type(copy.layer) is Own


def test_a_config_that_makes_no_layer_is_an_error():
    with pytest.raises(ValueError, match=r"'twice' of type Doubled can't be: its `get"):
        copy_layer(Doubled(2, name="twice"))


def test_a_broken_config_gives_way_to_the_arguments_in_attributes():
    kept = Kept(3, keras.ops.tanh, start=keras.initializers.RandomNormal(seed=1))
    copy = copy_layer(kept, name="copy")
    assert (copy.name, copy.factor, copy.times) == ("copy", 3, 3.0)
    assert copy._activation is keras.ops.tanh
    assert copy.start is not kept.start and copy.start.seed == 1


def test_a_layer_that_was_changed_since_is_not_made_again():
    kept = Kept(3)
    kept.times = 4.0  # which no argument of the constructor tells
    with pytest.raises(ValueError, match=r"can't be: its `get_config` must return"):
        copy_layer(kept)


def test_ties_in_nested_models_are_kept():
    dense = layers.Dense(4)
    nested = keras.Sequential([keras.Input((4,)), dense, Tied(dense, "bias")])
    model = keras.Sequential([keras.Input((4,)), nested, Tied(dense, None)])
    clone = keras.models.clone_model(model, clone_function=TiedCloner())
    assert clone.count_params() == model.count_params() == 4 * 4 + 2 * 4


class Subclassed(keras.Model):
    """A model that Keras can't look into."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(units)

    def call(self, x):
        return self.dense(x)


class WithConfig(Subclassed):
    def get_config(self):
        return {**super().get_config(), "units": self.dense.units}


def test_a_subclassed_model_is_copied_by_its_config():
    stack = SharedStack(WithConfig(8, name="block"), "ABA")
    assert tuple(stack(values(2, 8)).shape) == (2, 8)
    assert [type(b) for b in stack.blocks] == [WithConfig] * 2
    assert [b.name for b in stack.blocks] == ["block_A", "block_B"]
    assert stack.count_params() == 2 * 72


def test_a_subclassed_model_without_config_needs_a_function():
    message = r"has one only if .* give Subclassed a `get_config`.*lambda: Subcl"
    with pytest.raises(ValueError, match=message):
        SharedStack(Subclassed(8), "ABA")
    stack = SharedStack(lambda: Subclassed(8), "ABA")
    stack.build((None, 8))
    assert stack.count_params() == 2 * 72


def adapted():
    """Layers that have learned from data, and samples for them."""
    rng = np.random.default_rng(0)
    reals, words = rng.normal(size=(500, 3)).astype("float32"), np.array(["a", "b"])
    normalization, bins = layers.Normalization(), layers.Discretization(num_bins=4)
    numbers, terms = layers.IntegerLookup(), layers.StringLookup()
    for layer, data in (
        (normalization, 3 + 2 * reals),
        (bins, reals),
        (numbers, np.array([3, 5, 5, 9])),
        (terms, words),
    ):
        layer.adapt(data)
    return {
        "normalization": (normalization, reals),
        "bins": (bins, reals),
        "integers": (numbers, np.array([[9, 5, 4]] * 2)),
        "words": (terms, ops.convert_to_tensor([["b", "a", "c"]] * 2)),
    }


@pytest.mark.parametrize("kind", ["normalization", "bins", "integers", "words"])
def test_what_a_layer_learned_from_data_is_in_its_copies(kind):
    layer, x = adapted()[kind]
    if kind != "normalization":  # whose weights are copied as others
        copied = ops.convert_to_numpy(copy_layer(layer)(x))
        np.testing.assert_array_equal(copied, ops.convert_to_numpy(layer(x)))
    dtype = {"integers": "int64", "words": "string"}.get(kind, "float32")
    inputs = keras.Input((3,), dtype=dtype)
    y = layer(inputs)
    y = y if kind == "normalization" else layers.Embedding(6, 4)(y)
    for _ in range(3):
        y = layers.Dense(4)(layers.Flatten()(y) if len(y.shape) > 2 else y)
    model = keras.Model(inputs, layers.Dense(4)(y))
    for other in (share(model, "unshared"), untie(model)):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(other(x)), ops.convert_to_numpy(model(x))
        )
