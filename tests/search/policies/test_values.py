"""`ValueSpace`: drawing, moving, listing and encoding what a trial may be."""

import math
import random

import numpy as np
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FixedTrial
from policy_spaces import mixed, patterns_only, small

from keras_share import SharingPattern
from keras_share.search import suggest_pattern
from keras_share.search.policies import ValueSpace
from keras_share.search.policies.dimensions import Pattern

SPACES = {
    "patterns": patterns_only,
    "mixed": mixed,
    "small": small,
    "many sites": lambda: patterns_only(48),
}


def check(space, point):
    """A trial with the values finds them complete, and gets the same point."""
    values = space.values(point)
    assert space.read(values) == point
    trial = FixedTrial(values)
    for d in space.dimensions:
        is_active = all(condition.is_active(point) for condition in d.conditions)
        assert (d.name in values) == (d.name in point) == is_active
        if is_active and isinstance(d, Pattern):
            found = suggest_pattern(
                trial, d.space.num_sites, d.name, d.space.families, d.space.max_groups
            )
            assert found == point[d.name]
        elif is_active and hasattr(d, "distribution"):
            own = d.distribution.to_external_repr(
                d.distribution.to_internal_repr(values[d.name])
            )
            assert own == values[d.name] and type(own) is type(values[d.name])
            assert d.distribution.low <= own <= d.distribution.high
            if d.distribution.step:
                steps = (own - d.distribution.low) / d.distribution.step
                assert steps == pytest.approx(round(steps), abs=1e-8)
        elif is_active:
            assert values[d.name] in d.choices


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
    space = ValueSpace(
        {
            "offset": IntDistribution(0, 10**15),
            "step": IntDistribution(0, 20, step=5),
            "rate": FloatDistribution(0.0, 1.0),
            "one": FloatDistribution(1.0, 1.0),
        }
    )
    counts = {d.name: d.count for d in space.dimensions}
    assert counts == {"offset": 10**15 + 1, "step": 5, "rate": math.inf, "one": 1}
    assert space.grid(limit=100) is None
    rng = random.Random(0)
    point = space.draw(rng)
    for _ in range(50):
        point = space.neighbor(point, rng)
        check(space, point)


@pytest.mark.parametrize(
    ("distribution", "least"),
    [
        (IntDistribution(-3, 5), 0.08),
        (IntDistribution(2, 12, step=5), 0.3),
        (IntDistribution(1, 4, log=True), 0.1),
        (FloatDistribution(-1.0, 0.5, step=0.3), 0.13),
        (CategoricalDistribution([0.5, 3, 1]), 0.3),
        (CategoricalDistribution([None, "a", True]), 0.3),
    ],
)
def test_draws_are_as_even_as_those_of_optuna(distribution, least):
    (d,) = ValueSpace({"x": distribution}).dimensions
    values = list(d.choices)
    assert len(values) == d.count == len({repr(value) for value in values})
    rng = random.Random(0)
    drawn = [d.draw(rng) for _ in range(3000)]
    assert min(drawn.count(value) for value in values) > least * 3000
    assert all(d.nearest(value, rng) == value for value in values if value is not None)
    assert all(d.move(value, rng) != value for value in values)


def test_values_of_other_searches_are_brought_onto_the_grid():
    space = ValueSpace(
        {
            "width": IntDistribution(8, 256, step=8),
            "depth": IntDistribution(1, 9, log=True),
            "rate": FloatDistribution(0.0, 1.0, step=0.1),
            "decay": FloatDistribution(1e-4, 1e-1, log=True),
            "kernel": CategoricalDistribution([3, 5, 7]),
            "part": CategoricalDistribution([0.25, 0.5]),
            "bias": CategoricalDistribution([False, True]),
        }
    )
    dimensions = {d.name: d for d in space.dimensions}
    drawn = object()  # what is none of the space
    for name, value, expected in [
        *[("width", 36.5, 40), ("width", 256, 256), ("width", 8.0, 8)],
        *[("width", 264, drawn), ("width", "8", drawn), ("width", True, drawn)],
        *[("depth", 3.0, 3), ("depth", 3.7, 4), ("rate", 0.34, 0.1 * 3)],
        *[("rate", 1, 1.0), ("decay", 0.01, 0.01), ("decay", 1.0, drawn)],
        *[("kernel", 5.0, 5), ("kernel", 4, drawn), ("part", 0.4, drawn)],
        *[("part", 0.5, 0.5), ("bias", 1, True), ("bias", "yes", drawn)],
    ]:
        found = {dimensions[name].nearest(value, random.Random(s)) for s in range(20)}
        if expected is drawn:
            assert len(found) > 1, (name, value)
        else:
            assert found == {expected}, (name, value)
            assert type(found.pop()) is type(expected)
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
