"""Which file wins, and whether sharing earned it."""

from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_share import SharingPattern
from keras_share.search import SharingDesign
from keras_share.search.compression.candidates import Candidate
from keras_share.search.compression.data import Data
from keras_share.search.compression.files import Finalist
from keras_share.search.compression.scores import Scores
from keras_share.search.compression.verdict import choose, earned

COUNT = 200


@pytest.fixture(scope="module")
def scores():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    x, y = np.zeros((COUNT, 1)), np.zeros(COUNT, int)
    return Scores(model, Data((x, y), "test"), "accuracy")


@cache
def judged(scores, wrong):
    """Outputs that are wrong on the last so many samples, and their score."""
    said = np.tile([1.0, 0.0], (COUNT, 1)).astype("float32")
    said[COUNT - wrong :] = [0.0, 1.0]
    return said, scores.interval([said])


def finalist(scores, pattern, size, wrong):
    """A file that is wrong on the last so many samples."""
    said, score = judged(scores, wrong)
    candidate = Candidate(SharingDesign({"": SharingPattern(pattern)}), "int8")
    costs = {"exported_bytes": size, "latency_ms": 1.0}
    return Finalist(
        f"{pattern}, int8", Path("a.tflite"), candidate, [said], score, costs
    )


def test_intervals_of_accuracy_are_those_of_a_share(scores):
    found = finalist(scores, "AA", 1, wrong=50).score
    assert found.value == 0.75
    # 1.96 * sqrt(0.75 * 0.25 / 200) = 0.06
    assert found.low == pytest.approx(0.69, abs=0.02)
    assert found.high == pytest.approx(0.81, abs=0.02)


def test_under_a_budget_the_best_that_fits(scores):
    original = finalist(scores, "AB", 400, 0)
    made = [finalist(scores, "AB", 200, 0), finalist(scores, "AA", 90, 10)]
    limits = {"exported_bytes": 100}
    winner, reason = choose(made, original, limits, 1, 0.01)
    assert winner is made[1]
    assert "The best of the files" in reason
    said = earned(winner, made, limits, scores, 1)
    assert said.startswith("Sharing earned it: against AB, int8 (200 bytes, over the")
    winner, reason = choose(made, original, {"exported_bytes": 80}, 1, 0.01)
    assert winner is made[1]
    assert "comes nearest: exported_bytes 90 of at most 80" in reason


def test_without_a_budget_the_smallest_that_keeps_its_accuracy(scores):
    original = finalist(scores, "AB", 400, 0)
    made = [finalist(scores, "AB", 200, 0), finalist(scores, "AA", 90, 10)]
    assert choose(made, original, {}, 1, tolerance=0.06)[0] is made[1]
    assert choose(made, original, {}, 1, tolerance=0.01)[0] is made[0]
    winner, reason = choose(made[1:], original, {}, 1, tolerance=0.01)
    assert winner is made[1]
    assert "this one loses least" in reason


def test_sharing_has_not_earned_it_where_a_narrower_one_does_as_well(scores):
    limits = {"exported_bytes": 100}
    plain, shared = finalist(scores, "AB", 95, 2), finalist(scores, "AA", 99, 1)
    said = earned(shared, [plain, shared], limits, scores, 1)
    assert said.startswith("Sharing can't be said to have earned it: against AB, int8")
    # Where it is significantly better it has.
    worse = finalist(scores, "AB", 95, 40)
    assert earned(shared, [worse, shared], limits, scores, 1).startswith(
        "Sharing earned it"
    )
    assert earned(plain, [plain, shared], limits, scores, 1).startswith(
        "Sharing did not earn it"
    )


def test_less_is_better_in_a_loss(scores):
    original = finalist(scores, "AB", 400, 0)
    made = [finalist(scores, "AB", 90, 10), finalist(scores, "AA", 90, 2)]
    assert choose(made, original, {"exported_bytes": 100}, -1, 0.01)[0] is made[0]
