"""`inherit`: which layer of a donor stands for which, where names or nesting differ."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

import keras_share
from keras_share import LowRank, SharedStack, SharingPattern
from keras_share.retrofit.inheritance import InheritReport, inherit

ALL = list(SharingPattern.all(4))
WIDTH = 4


def numbers(weights):
    return [ops.convert_to_numpy(v) for v in weights]


def outputs(model):
    return ops.convert_to_numpy(model(values(3, *model.input_shape[1:])))


def by_hand(pattern, prefix=None):
    """A model whose layers the user shares, with names of Keras unless `prefix`."""
    inputs = x = keras.Input((WIDTH,))
    made = {}
    for site, label in enumerate(SharingPattern(pattern).labels):
        if label not in made:
            made[label] = layers.Dense(WIDTH, "tanh", name=prefix and f"{prefix}{site}")
        x = layers.Add()([x, made[label](x)])
        x = layers.LayerNormalization()(x)
    return keras.Model(inputs, layers.Dense(WIDTH)(x))


@pytest.mark.parametrize("prefix", [None, "site_"])
def test_layers_shared_by_hand_are_matched_call_by_call(prefix):
    donor = randomize(by_hand("ABCD", prefix))
    kernels = numbers(v for v in donor.weights if v.name == "kernel")
    for pattern in map(str, ALL):
        model = by_hand(pattern, prefix)
        assert inherit(model, donor).fresh == ()
        found = numbers(v for v in model.weights if v.name == "kernel")
        groups = SharingPattern(pattern).groups
        wanted = [np.mean([kernels[i] for i in g], axis=0) for g in groups]
        for a, b in itertools.zip_longest(found, [*wanted, kernels[4]]):
            np.testing.assert_allclose(a, b, atol=1e-6)
        if pattern == "ABCD":
            np.testing.assert_array_equal(outputs(model), outputs(donor))


def test_other_graphs_are_matched_by_name():
    donor = randomize(by_hand("ABCD", "site_"))
    inputs = x = keras.Input((WIDTH,))
    for name in ("site_0", "other", "site_3"):
        x = layers.Dense(WIDTH, name=name)(x)
    model = keras.Model(inputs, x)
    assert inherit(model, donor) == InheritReport(("site_0", "site_3"), ("other",))
    for name in ("site_0", "site_3"):
        a, b = (numbers(m.get_layer(name).weights) for m in (model, donor))
        np.testing.assert_array_equal(a[0], b[0])


def test_shared_models_are_candidates_too():
    donor = randomize(by_hand("ABCD", "site_"))
    pattern = [["site_0", "site_2"], ["site_1", "site_3"]]
    wanted = keras_share.share(donor, pattern, relax=LowRank(2))
    model = keras_share.share(by_hand("ABCD", "site_"), pattern, relax=LowRank(2))
    inherit(model, donor)
    np.testing.assert_allclose(outputs(model), outputs(wanted), atol=1e-5)


@keras.saving.register_keras_serializable(package="test")
class Encoder(layers.Layer):
    """A layer with a weight of its own and a stack inside."""

    def __init__(self, pattern, **kwargs):
        super().__init__(**kwargs)
        self.stack = SharedStack(layers.Dense(WIDTH), pattern, name="stack")
        self.head = layers.Dense(2, name="head")

    def build(self, shape):
        self.shift = self.add_weight(shape=(WIDTH,), name="shift")
        self.stack.build(shape)
        self.head.build(shape)

    def call(self, x):
        return self.head(self.stack(x + self.shift))


class Subclassed(keras.Model):
    def __init__(self, pattern):
        super().__init__()
        self.inner = keras.Sequential(
            [keras.Input((WIDTH,)), Encoder(pattern, name="encoder")], name="inner"
        )

    def call(self, x):
        return self.inner(x)


def test_stacks_inside_of_layers_and_models_are_found():
    donor = Subclassed("ABC")
    donor.build((None, WIDTH))
    randomize(donor)
    model = Subclassed("AAB")
    model.build((None, WIDTH))
    report = inherit(model, donor)
    assert report.fresh == ()
    encoder = "inner/encoder"
    stack = [f"{encoder}/stack/{i}" for i in range(3)]
    assert sorted(report.inherited) == sorted(
        [*stack, f"{encoder}/head", f"{encoder}/weights"]
    )
    mine, other = (m.inner.get_layer("encoder") for m in (model, donor))
    np.testing.assert_array_equal(*numbers([mine.shift, other.shift]))
    kernels = numbers(site.kernel for site in other.stack.sites)
    first, last = numbers(block.kernel for block in mine.stack.blocks)
    np.testing.assert_allclose(first, np.mean(kernels[:2], axis=0), atol=1e-7)
    np.testing.assert_array_equal(last, kernels[2])


def test_preprocessing_computes_with_what_it_inherits():
    def make():
        return keras.Sequential([keras.Input((WIDTH,)), layers.Normalization(name="n")])

    donor, model = make(), make()
    donor.get_layer("n").adapt(values(20, WIDTH) * 3 + 1)
    inherit(model, donor)
    np.testing.assert_array_equal(outputs(model), outputs(donor))
