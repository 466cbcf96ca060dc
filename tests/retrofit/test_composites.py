"""Blocks inside of layers: those of a stack that shares nothing."""

import keras
import numpy as np
import pytest
from keras import layers
from random_data import randomize, values

from keras_share import SharedStack, SharingPattern, find_sites, share, untie
from keras_share.blocks import TransformerBlock


def stacked(pattern, block=None):
    block = block or layers.Dense(4, activation="tanh")
    model = keras.Sequential([keras.Input((5, 4)), SharedStack(block, pattern)])
    randomize(model)
    return model


@pytest.mark.parametrize("pattern", list(SharingPattern.all(4)), ids=str)
def test_a_stack_is_tied_again_as_it_was(pattern):
    model, x = stacked(pattern), values(3, 5, 4)
    again = share(untie(model), pattern) if pattern.num_groups < 4 else model
    assert again.count_params() == model.count_params()
    np.testing.assert_allclose(again(x), model(x), atol=1e-6)


def test_sites_of_a_stack_that_shares_nothing():
    model = stacked("ABC", TransformerBlock(2, 8, name="block"))
    sites = find_sites(model)
    assert list(sites.site) == [0, 1, 2]
    assert {path.split("/")[0] for path in sites.layer} == {model.layers[-1].name}
    assert share(model, "AAB").count_params() < model.count_params()
    assert find_sites(stacked("AAB")).empty


def test_blocks_of_equal_names_stay_inside():
    model = stacked("ABC", lambda: layers.Dense(4, name="block"))
    assert find_sites(model).empty


def test_a_stack_that_shares_is_untied_first():
    with pytest.raises(ValueError, match=r"shares already, in 'shared_stack.*untie`"):
        share(stacked("AAB"), "shared")
