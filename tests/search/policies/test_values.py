"""`ValueSpace`: drawing, moving, listing and encoding what a trial may be."""

import random

import keras_tuner as kt
import numpy as np
import pytest
from policy_spaces import mixed, patterns_only, small

from keras_share import SharingPattern
from keras_share.search.policies import ValueSpace

SPACES = {
    "patterns": patterns_only,
    "mixed": mixed,
    "small": small,
    "many sites": lambda: patterns_only(48),
}


def check(space, point):
    """KerasTuner finds the values complete, and reads the same point from them."""
    hp = kt.HyperParameters()
    hp.merge([d.parameter for d in space.dimensions])
    values = space.values(point)
    assert space.read(values) == point
    hp.values = dict(values)
    hp.ensure_active_values()
    assert all(hp.values[name] == value for name, value in values.items())
    for d in space.dimensions:
        active = hp.is_active(d.parameter)
        assert (d.parameter.name in values) == active
        if active and hasattr(d.parameter, "min_value"):
            value = values[d.name]
            assert d.parameter.min_value <= value <= d.parameter.max_value


@pytest.mark.parametrize("name", SPACES)
def test_draws_are_complete_and_depend_on_the_seed(name):
    space = SPACES[name]()
    points = [space.draw(random.Random(seed)) for seed in range(50)]
    for point in points:
        check(space, point)
    assert points == [space.draw(random.Random(seed)) for seed in range(50)]
    assert len({space.key(point) for point in points}) > 10


@pytest.mark.parametrize("name", SPACES)
def test_neighbors_are_complete_and_differ_little(name):
    space, rng = SPACES[name](), random.Random(0)
    point = space.draw(rng)
    for _ in range(200):
        before, point = point, space.neighbor(point, rng)
        check(space, point)
        assert point != before
        common = before.keys() & point.keys()
        assert sum(before[name] != point[name] for name in common) <= 2


def test_every_dimension_moves():
    space, rng = mixed(), random.Random(0)
    point = space.draw(rng)
    moved = set()
    for _ in range(300):
        before, point = point, space.neighbor(point, rng)
        moved |= {n for n in point if n in before and point[n] != before[n]}
    assert moved == {d.name for d in space.dimensions if d.name != "classes"}


def test_grid_lists_every_point_once():
    space = small()
    points = space.grid(limit=25)
    assert len({space.key(point) for point in points}) == len(points) == 15 + 10
    for point in points:
        check(space, point)
    assert space.grid(limit=24) is None
    assert mixed().grid(limit=10**9) is None
    assert patterns_only(48).grid(limit=1000) is None
    rng = random.Random(0)
    keys = {space.key(point) for point in points}
    assert {space.key(space.draw(rng)) for _ in range(600)} == keys


def test_vectors_of_patterns_are_near_where_patterns_are():
    space = patterns_only(4)
    points = [{"sharing": SharingPattern(p)} for p in ("AABB", "AABC", "ABBA")]
    vectors = space.vectors(points)
    assert vectors.shape == (3, 6 + 2)
    np.testing.assert_allclose(
        vectors[0], [*np.array([1, 0, 0, 0, 0, 1]) / 6**0.5, 2 / 4, 0]
    )
    np.testing.assert_allclose(vectors[1][-2:], [3 / 4, 2 / 4])
    near, far = (np.sum((vectors[0] - v) ** 2) for v in vectors[1:])
    assert near < far


def test_vectors_of_other_kinds():
    space = mixed()
    names = [d.name for d in space.dimensions if d.width]
    blocks = dict(zip(names, space.blocks, strict=True))
    point = space.draw(random.Random(0))
    point.update(rate=1e-4 * 1e3**0.5, activation="gelu", depth=8, width=8)
    (vector,) = space.vectors([point])
    assert vector[blocks["rate"]] == pytest.approx(0.5)
    np.testing.assert_allclose(vector[blocks["activation"]], [0, 0.5**0.5, 0])
    assert vector[blocks["depth"]] == pytest.approx(5 / 6)
    assert "classes" not in blocks
    off, on = space.vectors(
        [{**point, "relax": "none"}, {**point, "relax": "low_rank", "rank": 16}]
    )
    assert off[blocks["rank"]] == 0 < on[blocks["rank"]]
    # Of an earlier search: without a dimension, and with one that is gone.
    earlier = {**point, "gone": 1}
    del earlier["width"]
    (vector,) = space.vectors([earlier])
    assert vector[blocks["width"]] == 0


def test_huge_ranges_are_not_listed():
    hp = kt.HyperParameters()
    hp.Int("offset", 0, 10**15)
    hp.Int("power", 1, 2**20, step=2, sampling="log")
    hp.Int("step", 0, 20, step=5)
    hp.Float("rate", 0.0, 1.0)
    space = ValueSpace(hp.space)
    counts = {d.name: d.count for d in space.dimensions}
    assert counts == {"offset": 10**15 + 1, "power": 21, "step": 5, "rate": np.inf}
    assert space.grid(limit=100) is None
    rng = random.Random(0)
    point = space.draw(rng)
    for _ in range(50):
        point = space.neighbor(point, rng)
        check(space, point)


def test_values_of_other_searches_are_brought_onto_the_grid():
    hp = kt.HyperParameters()
    hp.Int("width", 8, 256, step=8)
    hp.Int("units", 1, 64, step=2, sampling="log")
    hp.Int("depth", 1, 9, sampling="log")
    hp.Float("rate", 0.0, 1.0, step=0.1)
    hp.Float("decay", 1e-4, 1e-1, sampling="log")
    hp.Float("back", 1.0, 8.0, step=2, sampling="reverse_log")
    hp.Choice("kernel", [3, 5, 7])
    hp.Choice("part", [0.25, 0.5])
    hp.Boolean("bias")
    space = ValueSpace(hp.space)
    nearest = {d.name: d.nearest for d in space.dimensions}
    for name, value, expected in [
        *[("width", 36.5, 40), ("width", 256, 256), ("width", 8.0, 8)],
        *[("width", 264, None), ("width", "8", None), ("width", True, None)],
        *[("units", 5, 4), ("units", 64.0, 64), ("depth", 3.0, 3), ("depth", 3.7, 3)],
        *[("rate", 0.34, 0.1 * 3), ("rate", 1, 0.1 * 9), ("decay", 0.01, 0.01)],
        *[("decay", 1.0, None), ("back", 7.2, 7.0), ("kernel", 5.0, 5)],
        *[("kernel", 4, None), ("part", 0.5, 0.5), ("part", 0.4, None)],
        *[("bias", 1, True), ("bias", False, False), ("bias", "yes", None)],
    ]:
        found = nearest[name](value)
        assert (found, type(found)) == (expected, type(expected)), (name, value)
    # What is of the space already stays as it is.
    for d in space.dimensions:
        if d.count < 100:
            assert [d.nearest(value) for value in d.choices] == list(d.choices)
    earlier = {"width": 36.5, "rate": 0.34, "kernel": 5.0, "bias": 1}
    for seed in range(20):
        check(space, space.neighbor(earlier, random.Random(seed)))


FOREIGN = {
    "sites": {"attention": SharingPattern("AAB"), "decoder/ffn": SharingPattern("A")},
    "family": {"decoder/ffn": SharingPattern("ABBCA"), "width": 8},
    "range": {"width": 0, "rate": -1.0, "relax": "low_rank", "rank": 99},
    "kind": {"width": "wide", "rate": None, "activation": 3, "attention": "AAB"},
    "further": {"momentum": 0.9, "classes": 3},
    "nothing": {},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_points_of_other_searches_are_compared_and_completed(name):
    space, point = mixed(), FOREIGN[name]
    (vector,) = space.vectors([point])
    assert np.isfinite(vector).all()
    assert vector.any() == (name in ("family", "range"))
    for seed in range(20):
        check(space, space.neighbor(point, random.Random(seed)))
