"""What decides whether a trial has a parameter is found from trials."""

import doctest
import random

from keras_share.search.policies import conditions as module
from keras_share.search.policies.conditions import Unless, conditions

NAMES = ["width", "relax", "layers", "rank", "third", "inner"]


def trials(count, seed=0):
    rng, found = random.Random(seed), []
    for _ in range(count):
        point = {
            "width": rng.randrange(100),
            "relax": rng.choice(["none", "scale", "low_rank"]),
            "layers": rng.randint(1, 4),
        }
        if point["relax"] == "low_rank":
            point["rank"] = rng.choice([1, 2])
            if point["rank"] == 2:
                point["inner"] = rng.random()
        if point["layers"] > 2:
            point["third"] = rng.random()
        found.append(point)
    return found


def test_parents_are_found():
    assert conditions(trials(60), NAMES) == {
        "rank": [Unless("relax", frozenset({"'none'", "'scale'"}))],
        "third": [Unless("layers", frozenset({"1", "2"}))],
        "inner": [Unless("rank", frozenset({"1"}))],
    }


def test_what_was_not_seen_is_expected():
    condition = Unless("relax", frozenset({"'none'"}))
    assert condition.is_active({"relax": "basis"})
    assert not condition.is_active({"relax": "none"})
    assert not condition.is_active({})


def test_no_parent_without_evidence():
    assert conditions([], NAMES) == {}
    assert conditions([{"width": 1}, {"width": 2, "rank": 1}], NAMES) == {}
    # What comes and goes by itself has none.
    rng = random.Random(0)
    points = [{"relax": rng.choice("ab")} for _ in range(50)]
    for point in points[::3]:
        point["rank"] = 1
    assert conditions(points, NAMES) == {}


def test_docstring_example():
    assert doctest.testmod(module).failed == 0
