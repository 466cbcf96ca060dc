"""`inherit`: every candidate starts from what the donor has at its sites."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

from keras_share import (
    Basis,
    LowRank,
    Scale,
    SharedStack,
    SharingPattern,
    StepEmbedding,
    Templates,
)
from keras_share.blocks import SeparableConvBlock, TransformerBlock
from keras_share.layers.tied import block_of, site_weights
from keras_share.layers.variable_map import VariableMap
from keras_share.retrofit.inheritance import InheritReport, inherit

ALL = list(SharingPattern.all(4))
WIDTH = 4


def dense():
    return keras.Sequential(
        [layers.Dense(WIDTH, "tanh", name="fc"), layers.BatchNormalization(name="bn")],
        name="block",
    )


def separable():
    return SeparableConvBlock(3, rank=1, name="block")


def transformer():
    return TransformerBlock(2, 6, name="block")


SHAPES = {dense: (WIDTH,), separable: (5, WIDTH), transformer: (3, WIDTH)}


def network(block, pattern, **kwargs):
    """A model with a layer before the stack and one behind it."""
    inputs = keras.Input(SHAPES[block])
    x = layers.Dense(WIDTH, name="first")(inputs)
    kwargs = {"num_sites": 4, "name": "stack", **kwargs}
    x = SharedStack(block(), pattern, **kwargs)(x)
    return keras.Model(inputs, layers.Dense(2, name="last")(x))


def numbers(weights):
    return [ops.convert_to_numpy(v) for v in weights]


def outputs(model):
    return ops.convert_to_numpy(model(values(3, *model.input_shape[1:])))


@pytest.fixture(scope="module")
def donors():
    """An unshared network with random weights for each block."""
    return {block: randomize(network(block, None)) for block in SHAPES}


def site_values(model):
    """The weights of each site of the stack of an unrelaxed model, in order."""
    return [numbers(site_weights(s)) for s in model.get_layer("stack").sites]


def check_groups(model, donor, patterns):
    """Each weight is the mean over the sites that use it, by its pattern."""
    sources = site_values(donor)
    for site, found in enumerate(site_values(model)):
        for position, pattern in enumerate(patterns):
            group = pattern.groups[pattern.labels[site]]
            mean = np.mean([sources[i][position] for i in group], 0, "float64")
            np.testing.assert_array_equal(found[position], mean.astype("float32"))
    for name in ("first", "last"):
        for a, b in zip(
            model.get_layer(name).weights, donor.get_layer(name).weights, strict=True
        ):
            np.testing.assert_array_equal(*numbers([a, b]))


NONE = SharingPattern.unshared(4)


SHARED = {
    dense: [{"": pattern} for pattern in ALL],
    separable: [{"": pattern} for pattern in ALL],
    # Every partition once in each part: all 15 x 15 pairs take too long to build.
    transformer: [
        {"attention": p, "feedforward": ALL[(7 * i + 3) % 15]}
        for i, p in enumerate(ALL)
    ]
    + [{"attention": NONE, "feedforward": NONE}],
}


@pytest.mark.parametrize("block", SHARED)
def test_every_pattern_starts_at_the_means(block, donors):
    donor, before = donors[block], donors[block].get_weights()
    for shared in SHARED[block]:
        model = network(block, shared.get("", shared))
        report = inherit(model, donor)
        assert report.fresh == ()
        sites = {f"stack/{i}" for i in range(4)}
        assert set(report.inherited) == {"first", "last"} | sites
        paths = [v.path for v in model.get_layer("stack").blocks[0].weights]
        kinds = [
            next((p for part, p in shared.items() if f"/{part}" in path), NONE)
            if "bn" not in path and "norm" not in path
            else NONE
            for path in paths
        ]
        assert kinds.count(NONE) >= 4  # with the moving statistics
        check_groups(model, donor, kinds)
        if set(shared.values()) == {NONE}:
            np.testing.assert_array_equal(outputs(model), outputs(donor))
    for a, b in zip(before, donor.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def effective(model, kernel):
    """The kernel of each site, relaxations applied."""
    found = []
    for site in model.get_layer("stack").sites:
        block = block_of(site)
        own = VariableMap(getattr(site, "private_copies", ()))
        if hasattr(block, "relaxed_kernels"):
            [use] = [k for k in block.relaxed_kernels if k.kernel.layer.name == kernel]
            found.append(ops.convert_to_numpy(use.replace(own).value()))
        else:
            found.append(ops.convert_to_numpy(block.get_layer(kernel).kernel))
    return found


@pytest.mark.parametrize(
    "relax", [LowRank(WIDTH), Templates(4), Basis(WIDTH)], ids=["rank", "mix", "basis"]
)
def test_a_relaxation_that_can_reproduces_the_donor(relax, donors):
    donor = donors[dense]
    private = ["normalization", "bias"]
    for pattern in ALL if isinstance(relax, LowRank) else ALL[::5]:
        model = network(dense, pattern, relax=relax, private=private)
        assert inherit(model, donor).fresh == ()
        for mine, wanted in zip(
            effective(model, "fc"), effective(donor, "fc"), strict=True
        ):
            np.testing.assert_allclose(mine, wanted, atol=2e-5)
        np.testing.assert_allclose(outputs(model), outputs(donor), atol=1e-4)


def test_a_shared_donor_gives_what_its_sites_use(donors):
    middle = network(dense, "ABBA", relax=LowRank(2))
    inherit(middle, donors[dense])
    wanted = effective(middle, "fc")
    for pattern in ("AABB", "ABCD", "AAAA"):
        model = network(dense, pattern)
        inherit(model, middle)
        groups = SharingPattern(pattern)
        for site, label in enumerate(groups.labels):
            mean = np.mean([wanted[i] for i in groups.groups[label]], axis=0)
            np.testing.assert_allclose(effective(model, "fc")[site], mean, atol=1e-6)
    same = network(dense, "ABBA", private=None)
    donor = randomize(network(dense, "ABBA", private=None))
    inherit(same, donor)
    np.testing.assert_array_equal(outputs(same), outputs(donor))


def test_low_rank_can_train_where_nothing_is_lacking():
    donor = randomize(network(dense, "AAAA"))
    model = network(dense, "AAAA", relax=LowRank(2))
    inherit(model, donor)
    np.testing.assert_allclose(outputs(model), outputs(donor), atol=1e-6)
    downs = [v for v in model.weights if v.path.endswith("down")]
    assert len(downs) == 4
    assert all(np.abs(ops.convert_to_numpy(v)).max() > 0.01 for v in downs)


def test_steps_and_several_relaxations(donors):
    donor = donors[dense]
    model = network(dense, "AAAA", relax=[StepEmbedding(), LowRank(WIDTH)])
    assert inherit(model, donor).fresh == ()
    np.testing.assert_allclose(
        effective(model, "fc")[2], effective(donor, "fc")[2], atol=1e-5
    )
    model = network(dense, "AABC", relax=[Scale(), LowRank(2)])
    report = inherit(model, donor)
    assert report.fresh == ("stack/0", "stack/1")
    assert set(report.inherited) == {"first", "last", "stack/2", "stack/3"}
    mean = np.mean([effective(donor, "fc")[i] for i in (0, 1)], axis=0)
    np.testing.assert_allclose(effective(model, "fc")[0], mean, atol=1e-6)


def test_path_is_loaded_once_until_the_file_changes(tmp_path, donors, monkeypatch):
    path = tmp_path / "donor.keras"
    donors[separable].save(path)
    loads = []
    load = keras.saving.load_model
    monkeypatch.setattr(
        keras.saving, "load_model", lambda *a, **k: loads.append(a) or load(*a, **k)
    )
    for donor in (path, str(path)):
        model = network(separable, NONE)
        assert inherit(model, donor).fresh == ()
        np.testing.assert_array_equal(outputs(model), outputs(donors[separable]))
    assert len(loads) == 1
    other = network(separable, "AAAA")
    other.save(path)
    model = network(separable, "AAAA")
    inherit(model, path)
    assert len(loads) == 2
    np.testing.assert_array_equal(outputs(model), outputs(other))


def test_other_shapes_are_refused(donors):
    inputs = keras.Input((WIDTH,))
    x = layers.Dense(WIDTH, name="first")(inputs)
    stack = SharedStack(dense(), "AAA", name="stack")
    short = keras.Model(inputs, layers.Dense(2, name="last")(stack(x)))
    with pytest.raises(ValueError, match=r"'stack' .*has 3 sites, in the donor 4"):
        inherit(short, donors[dense])
    report = inherit(short, donors[dense], strict=False)
    assert report == InheritReport(("first", "last"), ("stack/0", "stack/1", "stack/2"))

    wide = keras.Sequential(
        [keras.Input((WIDTH,)), layers.Dense(6, name="first"), layers.Dense(2)]
    )
    before = wide.get_weights()
    with pytest.raises(
        ValueError, match=r"(?s)'first' differs .*\(4, 6\).*\(4, 4\).*donor for each"
    ):
        inherit(wide, donors[dense])
    with pytest.raises(ValueError, match="no layer that fits"):
        inherit(wide, donors[dense], strict=False)
    for a, b in zip(before, wide.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_arguments(donors, tmp_path):
    model = network(dense, "AAAA")
    with pytest.raises(TypeError, match=r"path to a `.keras` file. Received: 3"):
        inherit(model, 3)
    with pytest.raises(FileNotFoundError, match=r"none\.keras"):
        inherit(model, tmp_path / "none.keras")
    unbuilt = keras.Sequential([layers.Dense(3)], name="late")
    with pytest.raises(ValueError, match=r"`model` must be built.*'late', not built"):
        inherit(unbuilt, donors[dense])
