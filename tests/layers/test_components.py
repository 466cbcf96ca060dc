import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

from keras_share import LowRank, SharedStack, SharingPattern, Templates, Tied
from keras_share.blocks import ConformerBlock, TransformerBlock
from keras_share.layers.components import component_names
from keras_share.layers.tied import site_weights

WIDTH, HIDDEN = 4, 6
ATTENTION = 4 * (WIDTH * WIDTH + WIDTH)
FEEDFORWARD = 2 * WIDTH * HIDDEN + HIDDEN + WIDTH
NORMS = 4 * WIDTH


def block():
    return TransformerBlock(2, HIDDEN)


def pair():
    """Two Dense layers, `one` and `two`, of 20 weights each."""
    return keras.Sequential(
        [layers.Dense(WIDTH, "tanh", name="one"), layers.Dense(WIDTH, name="two")]
    )


def transformer(pattern, **kwargs):
    model = keras.Sequential([keras.Input((3, WIDTH))])
    model.add(SharedStack(block(), pattern, **kwargs))
    return model


@pytest.mark.parametrize("one", list(SharingPattern.all(3)), ids=str)
@pytest.mark.parametrize("two", list(SharingPattern.all(3)), ids=str)
def test_every_pair_of_patterns_equals_plain_layers(one, two):
    stack = SharedStack(pair(), {"one": one, "two": two}, num_sites=3)
    model = keras.Sequential([keras.Input((WIDTH,)), stack])
    assert model.count_params() == 20 * (one.num_groups + two.num_groups)
    randomize(model)
    ones = [layers.Dense(WIDTH, "tanh") for _ in range(one.num_groups)]
    twos = [layers.Dense(WIDTH) for _ in range(two.num_groups)]
    plain = keras.Sequential([keras.Input((WIDTH,))])
    for a, b in zip(one.labels, two.labels, strict=True):
        plain.add(ones[a]), plain.add(twos[b])
    for site, a, b in zip(stack.sites, one.labels, two.labels, strict=True):
        weights = [ops.convert_to_numpy(v) for v in site_weights(site)]
        ones[a].set_weights(weights[:2]), twos[b].set_weights(weights[2:])
    x = values(5, WIDTH)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model(x)), ops.convert_to_numpy(plain(x))
    )


@pytest.mark.parametrize(
    "pattern, count",
    [
        ("shared", ATTENTION + FEEDFORWARD),
        ({"attention": "shared"}, ATTENTION + 4 * FEEDFORWARD),
        ({"feedforward": "shared"}, 4 * ATTENTION + FEEDFORWARD),
        (
            {"attention": "sequence:2", "feedforward": "cycle:3"},
            2 * ATTENTION + 3 * FEEDFORWARD,
        ),
        (
            {"attention": "shared", "query": "unshared"},
            ATTENTION + 3 * ATTENTION // 4 + 4 * FEEDFORWARD,
        ),
        ({"feedforward_output": "AABB", "key": "ABBA"}, None),
    ],
    ids=str,
)
def test_parts_of_a_transformer(pattern, count, tmp_path):
    if count is None:
        total = 4 * (ATTENTION + FEEDFORWARD)
        count = total - 2 * ATTENTION // 4 - 2 * (HIDDEN * WIDTH + WIDTH)
    model = transformer(pattern, num_sites=4)
    assert model.count_params() == count + 4 * NORMS
    randomize(model)
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    x = values(2, 3, WIDTH)
    before = model.get_weights()
    model.train_on_batch(x, x[::-1])
    pairs = zip(before, model.get_weights(), strict=True)
    moved = [not np.array_equal(old, new) for old, new in pairs]
    # Of queries and keys, some gradients are zero or nearly so.
    still = [w.path for w, m in zip(model.weights, moved, strict=True) if not m]
    assert all("query" in path or "key" in path for path in still), still
    model.save(tmp_path / "model.keras")
    for copy in (
        keras.models.load_model(tmp_path / "model.keras"),
        keras.models.clone_model(model),
    ):
        assert copy.count_params() == model.count_params()
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(
            ops.convert_to_numpy(copy(x)), ops.convert_to_numpy(model(x))
        )


def test_weights_that_are_not_shared_start_on_their_own():
    stack = SharedStack(pair(), {"one": "AAA", "two": "AAB"})
    stack.build((None, WIDTH))
    kernels = [site_weights(site)[2] for site in stack.sites]
    assert kernels[0] is kernels[1]
    assert not np.allclose(
        ops.convert_to_numpy(kernels[0]), ops.convert_to_numpy(kernels[2])
    )


def test_a_site_that_shares_nothing_is_a_plain_block():
    stack = SharedStack(pair(), {"one": "AAB", "two": "ABC"})
    kinds = [isinstance(site, Tied) for site in stack.sites]
    assert kinds == [False, True, False]
    assert stack.pattern == SharingPattern("ABC")
    assert stack.patterns == {
        "one": SharingPattern("AAB"),
        "two": SharingPattern("ABC"),
    }


def test_relaxations_act_on_shared_parts():
    plain = transformer({"attention": "AAA"})
    relaxed = transformer({"attention": "AAA"}, relax=LowRank(1))
    extra = 3 * 4 * 2 * WIDTH  # three sites, four kernels, two vectors
    assert relaxed.count_params() - plain.count_params() == extra
    bank = transformer({"attention": "AAB"}, relax=Templates(2, seed=0))
    plain = transformer({"attention": "AAB"})
    extra = 2 * 4 * WIDTH * WIDTH + 3 * 4 * 2  # two banks; coefficients
    assert bank.count_params() - plain.count_params() == extra


def test_a_part_of_a_part_is_relaxed_once():
    pattern = {"attention": "AAA", "query": "AAB"}
    plain, relaxed = (transformer(pattern, relax=r) for r in (None, LowRank(1)))
    assert relaxed.count_params() - plain.count_params() == 3 * 4 * 2 * WIDTH


def test_conformer_parts():
    stack = SharedStack(
        ConformerBlock(2, 8, kernel_size=3),
        {"feedforward_1": "shared", "convolution": "shared", "feedforward_2": "AB"},
        num_sites=2,
    )
    stack.build((None, 5, WIDTH))
    block = stack.blocks[0]
    assert {"feedforward_1", "convolution", "attention"} <= set(component_names(block))
    kernels = [
        [v for v in site_weights(site) if v.path.endswith("expansion/kernel")]
        for site in stack.sites
    ]
    assert kernels[0][0] is kernels[1][0]


@pytest.mark.parametrize(
    "pattern, message",
    [
        (
            {"atention": "shared"},
            "no part 'atention' with weights.*'attention', ",
        ),
        ({"attention": "AAA", "feedforward": "AA"}, "must have the same number of si"),
        ({}, "dict of patterns must name parts"),
        ({1: "AAA"}, "dict of patterns must name parts"),
    ],
)
def test_bad_patterns_of_parts(pattern, message):
    num_sites = None if "feedforward" in pattern else 3
    with pytest.raises(ValueError, match=message):
        transformer(pattern, num_sites=num_sites)
