"""Layers that a model calls several times, and nested models."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

from keras_share.retrofit.find_sites import find_sites
from keras_share.retrofit.share import share
from keras_share.retrofit.untie import untie


def encoder():
    x = y = keras.Input((6, 8))
    for i in range(4):
        y = layers.Dense(8, "tanh", name=f"dense_{i}")(y)
        y = layers.BatchNormalization(name=f"norm_{i}")(y)
    return keras.Model(x, y, name="encoder")


@pytest.mark.parametrize("depth", [1, 2])
def test_an_encoder_of_two_inputs(depth, tmp_path):
    """As in Siamese networks and retrieval; or one that reads what it wrote."""
    one, other = keras.Input((6, 8)), keras.Input((6, 8))
    encode = encoder()
    towers = [one, other]
    for _ in range(depth):
        towers = [encode(x) for x in towers]
    model = randomize(keras.Model([one, other], ops.sum(towers[0] * towers[1], -1)))
    x = [values(8, 6, 8), values(8, 6, 8, seed=1)]
    sites = find_sites(model)
    assert list(sites["site"]) == [0, 0, 1, 1, 2, 2, 3, 3]
    for part in (0, 1, 2):  # blocks that are equal lose nothing
        for own, first in zip(
            encode.get_layer(f"dense_{part + 1}").weights,
            encode.get_layer("dense_0").weights,
            strict=True,
        ):
            own.assign(first)
    shared = share(model, "AAAA")
    np.testing.assert_allclose(shared(x), model(x), rtol=1e-5, atol=1e-5)
    assert model.count_params() - shared.count_params() == 3 * (8 * 8 + 8)
    shared.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(x), shared(x), atol=1e-6)
    np.testing.assert_array_equal(untie(shared)(x), shared(x))


def test_named_layers_may_be_called_several_times():
    x = y = keras.Input((8,))
    twice, once = layers.Dense(8, name="twice"), layers.Dense(8, name="once")
    for layer in (twice, once, twice):
        y = layer(y)
    model = keras.Model(x, y)
    once.set_weights(twice.get_weights())
    shared = share(model, [["once", "twice"]])
    assert shared.count_params() == 72
    np.testing.assert_allclose(shared(values(4, 8)), model(values(4, 8)), atol=1e-6)
