"""What `share` refuses, and what it says."""

import keras
import numpy as np
import pytest
from dense_blocks import blocks
from keras import layers
from random_data import values

from keras_share import LowRank, Tied, find_sites, quantize_model
from keras_share.retrofit.share import share


def mismatched():
    x = inputs = keras.Input((4,))
    x = layers.Dense(8, name="wide")(x)
    x = layers.Dense(4, name="narrow")(x)
    x = layers.Dense(4, name="square")(x)
    x = layers.Dense(4, activation="relu", name="relu")(x)
    x = layers.LayerNormalization(name="norm")(x)
    twice = layers.Dense(4, name="twice")
    return keras.Model(inputs, twice(twice(x)))


def by_hand():
    return keras.Sequential([keras.Input((4,)), layers.Dense(4), Tied(layers.Dense(4))])


@pytest.mark.parametrize(
    "make, pattern, kwargs, message",
    [
        (blocks, "AAB", {}, "'dense_0' must fit its 4 sites.*one label per site"),
        (blocks, "sequence:9", {}, "'dense_0' must fit its 4 sites.*num_groups=9"),
        (blocks, 3, {}, "'dense_0' must fit its 4 sites"),
        (blocks, {"dense": "AA"}, {}, r"no kind of sites 'dense'.*{'dense_0': 4}"),
        (
            blocks,
            [["dense_0", "dense"]],
            {},
            "no layer 'dense' with weights.*'dense_3'",
        ),
        (blocks, [["dense_0", "dense_0"]], {}, "in one group only.*'dense_0' twice"),
        (blocks, [["dense_0", 1]], {}, r"list of names of layers.*\['dense_0', 1\]"),
        (blocks, ["dense_0", ["dense_1"]], {}, "list of names.*'dense_0' in"),
        (blocks, "AAAA", {"init": "best"}, "must be one of 'mean', 'f.*init='best'"),
        (blocks, "AAAA", {"private": "beta2"}, "'beta2', which no shared.*'kernel'"),
        (mismatched, "shared", {}, "No layers of the model '.*' repeat in a row"),
        (
            mismatched,
            [["wide", "square"]],
            {},
            "'wide' and 'square' differ in 'units' in the config, 8 and 4",
        ),
        (
            mismatched,
            [["narrow", "square"]],
            {},
            r"differ in the shape of 'kernel', \(8, 4\) and \(4, 4\)",
        ),
        (mismatched, [["square", "relu"]], {}, "'activation' in the config, 'linear'"),
        (mismatched, [["square", "norm"]], {}, "the class, Dense and LayerNorm"),
        (by_hand, [["dense", "tied"]], {}, "no layer|is shared already"),
        (lambda: keras.Sequential([layers.Dense(4)]), "AA", {}, "is not built"),
    ],
)
def test_errors(make, pattern, kwargs, message):
    with pytest.raises(ValueError, match=message):
        share(make(), pattern, **kwargs)


def test_integers_are_no_weights_to_share():
    model = keras.Sequential([keras.Input((8,)), *[layers.Dense(8) for _ in range(3)]])
    model.quantize("int8")
    message = "must have its float weights.*'dense.*', of which Keras's own `quantize`"
    with pytest.raises(ValueError, match=message):
        share(model, "shared")


def test_integers_in_training_are_no_sites(tmp_path):
    quantized = quantize_model(blocks(), values(4, 4))
    for function in (find_sites, lambda model: share(model, "shared")):
        with pytest.raises(ValueError, match="shares first, and is quantized then"):
            function(quantized)


class Numbered(layers.Layer):
    """Its parts are numbered by Keras, on from those of other layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.part = layers.Dense(4)

    def build(self, shape):
        self.part.build(shape)

    def call(self, x):
        return self.part(x)


def test_names_that_only_other_sites_have():
    keras.utils.clear_session()
    last, first = Numbered(name="last"), Numbered(name="first")
    model = keras.Sequential([keras.Input((4,)), first, last])
    with pytest.raises(ValueError, match="'last' has a part 'dense', 'first' has none"):
        share(model, "shared", private="dense")


@pytest.mark.parametrize(
    "data, message",
    [
        (np.full((3, 4), np.nan), "`data` must be finite"),
        (iter([values(3, 4)]), "`data` must be arrays of samples.*<list_iter"),
        (np.array(["a", "b"]), "`data` must be arrays of samples.*'a'"),
        (7.0, "`data` must be arrays of samples.*7.0"),
    ],
)
def test_data_that_nothing_can_be_fitted_to(data, message):
    with pytest.raises(ValueError, match=message):
        share(blocks(), "shared", data=data)


def test_weights_that_nothing_can_be_fitted_to():
    model = blocks()
    model.get_layer("dense_1").bias.assign(np.full(4, np.nan))
    with pytest.raises(ValueError, match=r"finite.*infinity in 'net/dense_1/bias'"):
        share(model, "shared", relax=LowRank(1))
