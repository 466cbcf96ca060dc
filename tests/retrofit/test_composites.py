"""Blocks inside of layers: those of a stack that shares nothing."""

import keras
import numpy as np
import pytest
from keras import layers, ops
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


class Encoder(layers.Layer):
    """Blocks in a list, with weights of its own around them."""

    supports_masking = True

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind
        self.blocks = [layers.Dense(4, activation="tanh") for _ in range(3)]
        if kind == "places":
            self.places = layers.Embedding(5, 4)

    def build(self, shape):
        if self.kind == "any batch":
            self.first = self.add_weight(shape=(1, 1, 4), name="first")
        self.gain = self.add_weight(shape=(), name="gain")

    def call(self, x, mask=None):
        if self.kind == "places":
            x = x + self.places(ops.arange(x.shape[1]))
        if self.kind == "any batch":
            first = ops.broadcast_to(self.first, (ops.shape(x)[0], 1, 4))
            x = ops.concatenate([first, x], axis=1)
        for block in self.blocks:
            x = block(x)
        if mask is not None and self.kind == "masked":
            x = x * ops.cast(mask, "float32")[..., None]
        return x * self.gain


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", ["places", "any batch", "masked"])
def test_weights_beside_the_blocks(kind, masked, tmp_path):
    if masked and kind == "any batch":
        pytest.skip("Its outputs are more than its mask has.")
    ids = keras.Input((5,), dtype="int32")
    table = layers.Embedding(3, 4, mask_zero=masked)
    outputs = layers.GlobalAveragePooling1D()(Encoder(kind, name="encoder")(table(ids)))
    model = keras.Model(ids, outputs)
    randomize(model)
    x = np.arange(20).reshape(4, 5) % 3
    assert set(find_sites(model).layer) == {
        f"encoder/{block.name}" for block in model.layers[2].blocks
    }
    np.testing.assert_allclose(share(model, "unshared")(x), model(x), atol=1e-6)
    shared = share(model, "shared")
    assert model.count_params() - shared.count_params() == 2 * (4 * 4 + 4)
    shared.compile("sgd", "mse")
    before = [v.numpy() for v in shared.trainable_variables]
    shared.fit(x, np.ones((4, 4)), verbose=0)
    for variable, value in zip(shared.trainable_variables, before, strict=True):
        assert not np.array_equal(variable, value), variable.path
    shared.save(tmp_path / "shared.keras")
    again = keras.saving.load_model(tmp_path / "shared.keras")
    assert again.count_params() == shared.count_params()
    np.testing.assert_allclose(again(x), shared(x), atol=1e-6)


def test_it_tells_what_was_not_seen():
    class Tied(Encoder):
        def call(self, x):
            y = super().call(x)
            return y @ ops.transpose(self.blocks[0].kernel)

    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, Tied("plain", name="closed")(inputs))
    message = r"inside of 'closed' was not seen, as it can't be opened: it uses weights"
    with pytest.raises(ValueError, match=f"repeat in a row.*{message}"):
        share(model, "shared")
    with pytest.raises(ValueError, match=f"no layer 'closed/dense'.*{message}"):
        share(model, [["closed/dense", "closed/dense_1"]])
