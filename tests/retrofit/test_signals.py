import itertools
from functools import partial

import keras
import numpy as np
import pandas as pd
import pytest
from dense_blocks import blocks
from keras import layers, ops
from random_data import randomize, values

from keras_share import SharingPattern
from keras_share.retrofit.find_sites import find_sites
from keras_share.retrofit.share import share
from keras_share.retrofit.signals import closest_pattern, sharing_signals


def two_kinds():
    """Convolutions, a recurrent end that repeats, and two outputs."""
    inputs = x = keras.Input((6, 4), name="given")
    for i in range(3):
        y = layers.Conv1D(4, 3, padding="same", activation="relu", name=f"conv_{i}")(x)
        x = layers.add([x, layers.LayerNormalization(name=f"norm_{i}")(y)])
    for i in range(2):
        x = layers.GRU(4, return_sequences=True, name=f"gru_{i}")(x)
    outputs = layers.Dense(3, name="a")(x), layers.Dense(1, name="b")(x[:, -1])
    return randomize(keras.Model(inputs, outputs))


@keras.saving.register_keras_serializable("signals")
class Encoder(layers.Layer):
    """Blocks in a list, of two layers each."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [
            layers.MultiHeadAttention(2, 4, name=f"mha_{i}") for i in range(3)
        ]

    def build(self, shape):
        for block in self.blocks:
            block.build(shape, shape)

    def call(self, x):
        for block in self.blocks:
            x = x + block(x, x)
        return x


def encoder():
    inputs = keras.Input((5, 8))
    return randomize(keras.Model(inputs, layers.Dense(2)(Encoder()(inputs))))


MODELS = {"blocks": partial(blocks, 3), "two kinds": two_kinds, "encoder": encoder}


@pytest.mark.parametrize(
    "name, private", [("blocks", None), *((name, "normalization") for name in MODELS)]
)
def test_a_signal_is_what_sharing_the_pair_changes(name, private):
    model = MODELS[name]()
    x = values(70, *model.input_shape[1:])
    kept = [ops.convert_to_numpy(v) for v in model.weights]
    signals = sharing_signals(model, x, private=private)
    for v, value in zip(model.weights, kept, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(v), value)
    sites = find_sites(model)
    counts = sites.groupby("kind", sort=False)["site"].nunique()
    assert [tuple(row) for row in signals.iloc[:, :3].to_numpy()] == [
        (kind, *pair)
        for kind, count in counts.items()
        for pair in itertools.combinations(range(count), 2)
    ]
    before = keras.tree.flatten(model(x))
    for kind, site, other, change in signals.itertuples(index=False):
        of_kind = sites[sites["kind"] == kind]
        groups = [
            rows["layer"].tolist()
            for _, rows in of_kind[of_kind["site"].isin([site, other])].groupby(
                "position"
            )
        ]
        after = keras.tree.flatten(share(model, groups, data=x, private=private)(x))
        parts = [
            np.square(b - a).mean() / np.var(a.reshape(-1, a.shape[-1]), axis=0).mean()
            for a, b in (
                map(ops.convert_to_numpy, pair)
                for pair in zip(before, after, strict=True)
            )
        ]
        assert change == pytest.approx(np.mean(parts), rel=1e-3)
        assert change > 1e-4


def test_equal_sites_change_nothing():
    model = blocks(5)
    for one, other in ((0, 3), (1, 2), (1, 4)):
        model.get_layer(f"dense_{other}").set_weights(
            model.get_layer(f"dense_{one}").get_weights()
        )
    signals = sharing_signals(model, values(50, 4))
    alike = signals[signals["change"] < 1e-9]
    pairs = list(zip(alike["site"], alike["other"], strict=True))
    assert pairs == [(0, 3), (1, 2), (1, 4), (2, 4)]
    assert closest_pattern(signals, "dense_0", 2) == SharingPattern("ABBAB")


def test_dicts_of_inputs_and_an_output_that_is_partly_constant():
    given = {"x": keras.Input((4,), name="x"), "z": keras.Input((4,), name="z")}
    x = given["x"] + given["z"]
    for i in range(2):
        x = layers.Dense(4, name=f"dense_{i}")(x)
    model = randomize(keras.Model(given, ops.concatenate([x, 0 * x])))
    data = {"x": values(9, 4), "z": values(9, 4, seed=1)}
    [change] = sharing_signals(model, data)["change"]
    assert 0 < change < np.inf
    with pytest.raises(ValueError, match=r"finite and differ.*from 0.0 to 0.0"):
        sharing_signals(keras.Model(given, 0 * x), data)


@pytest.mark.parametrize("sites", range(2, 7))
def test_the_closest_pattern_of_every_number_of_groups(sites):
    rng = np.random.default_rng(sites)
    pairs = list(itertools.combinations(range(sites), 2))
    signals = pd.DataFrame(pairs, columns=["site", "other"])
    signals.insert(0, "kind", "k")
    signals["change"] = rng.exponential(size=len(pairs))
    signals = signals.sort_values("change")  # as people look at it
    found = [closest_pattern(signals, "k", n) for n in range(1, sites + 1)]
    assert [p.num_groups for p in found] == list(range(1, sites + 1))
    assert all(p.num_sites == sites for p in found)
    # The first two to share are the best pair; further groups are made by merging.
    best = signals.loc[signals["change"].idxmin()]
    assert found[-2].groups.count((best["site"], best["other"])) == 1
    for coarse, fine in itertools.pairwise(found):
        assert coarse in [
            fine.merge(a, b)
            for a, b in itertools.combinations(range(fine.num_groups), 2)
        ]


def test_pairs_that_overflow_are_joined_last():
    pairs = [("k", 0, 1, np.inf), ("k", 0, 2, 0.1), ("k", 1, 2, np.nan)]
    signals = pd.DataFrame(pairs, columns=["kind", "site", "other", "change"])
    assert closest_pattern(signals, "k", 2) == SharingPattern("ABA")


def test_what_cannot_be_told():
    model = blocks()
    with pytest.raises(ValueError, match="repeat in a row"):
        sharing_signals(keras.Sequential([keras.Input((4,)), layers.Dense(4)]), [])
    with pytest.raises(ValueError, match="`private` names 'attention'"):
        sharing_signals(model, values(8, 4), private="attention")
    with pytest.raises(ValueError, match="`data` must be finite"):
        sharing_signals(model, np.full((8, 4), np.nan))
    with pytest.raises(ValueError, match=r"No kind 'dense_9'.*dense_0"):
        closest_pattern(sharing_signals(model, values(8, 4)), "dense_9", 2)
    with pytest.raises(ValueError, match=r"from 1 to 4.*num_groups=5"):
        closest_pattern(sharing_signals(model, values(8, 4)), "dense_0", 5)
    with pytest.raises(ValueError, match=r"with shape \(8, 5\)"):
        sharing_signals(model, values(8, 5))
    with pytest.raises(ValueError, match=r"finite and differ.*Pass more samples"):
        sharing_signals(model, values(1, 4))
    model.layers[0].kernel.assign(np.full((4, 4), np.nan))
    with pytest.raises(ValueError, match=r"finite and differ.*from nan to nan"):
        sharing_signals(model, values(8, 4))
    with pytest.raises(ValueError, match="one or more"):
        sharing_signals(model, values(0, 4))


def test_groups_are_joined_by_the_mean_of_their_pairs():
    near = {(0, 1): 1, (1, 2): 1.1, (2, 3): 1.2}  # a chain
    pairs = [("k", *p, near.get(p, 9)) for p in itertools.combinations(range(4), 2)]
    signals = pd.DataFrame(pairs, columns=["kind", "site", "other", "change"])
    assert closest_pattern(signals, "k", 2) == SharingPattern("AABB")
