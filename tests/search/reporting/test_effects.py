"""What sharing and hyperparameters do, on searches with known effects."""

from dataclasses import replace

import numpy as np
import pytest
import synthetic_search as synthetic

from keras_share import SharingPattern
from keras_share.search import SearchResults
from keras_share.search.reporting.effects import effects


@pytest.mark.parametrize("names", [("sharing",), ("attention", "ffn")])
def test_effects_are_found(names):
    results = synthetic.search(names=names)
    found = effects(results).pairs
    assert [pairs.name for pairs in found] == list(names)
    for pairs in found:
        assert pairs.effects[0, 1] == pytest.approx(-0.06, abs=0.01)
        assert pairs.effects[4, 5] == pytest.approx(0.03, abs=0.01)
        others = pairs.effects.copy()
        others[[0, 1, 4, 5], [1, 0, 5, 4]] = 0
        assert np.nanmax(np.abs(others)) < 0.015
        np.testing.assert_array_equal(pairs.effects, pairs.effects.T)
        assert pairs.trials == 60
        assert pairs.explained > 0.7
        patterns = [str(row.patterns[pairs.name]) for row in results.records]
        together = [sum(p[i] == p[j] for p in patterns) for i, j in [(0, 1), (2, 5)]]
        assert [pairs.counts[0, 1], pairs.counts[2, 5]] == together


def test_it_is_no_difference_of_means():
    # Here 2 and 3 share wherever 0 and 1 do, or 4 and 5: a mean would blame them.
    results = synthetic.search(trials=200, noise=0)
    rows = [
        row
        for row in results.records
        if (p := row.pattern)[2] == p[3] or (p[0] != p[1] and p[4] == p[5])
    ]
    together = [row.score for row in rows if row.pattern[2] == row.pattern[3]]
    apart = [row.score for row in rows if row.pattern[2] != row.pattern[3]]
    assert len(together) > 10 and len(apart) > 10
    assert np.mean(together) - np.mean(apart) < -0.02
    (pairs,) = effects(SearchResults(tuple(rows), synthetic.ONE)).pairs
    assert abs(pairs.effects[2, 3]) < 0.01


def test_luck_is_told_as_such():
    rng = np.random.default_rng(0)
    rows = [replace(r, score=rng.normal()) for r in synthetic.search().records]
    (pairs,) = effects(SearchResults(tuple(rows), synthetic.ONE)).pairs
    assert pairs.explained < 0.05


def test_what_trials_cannot_tell():
    rows = [row for row in synthetic.search(200).records if row.pattern[:2] == "AA"]
    (pairs,) = effects(SearchResults(tuple(rows), synthetic.ONE)).pairs
    assert np.isnan(pairs.effects[0, 1]) and pairs.counts[0, 1] == len(rows)
    assert np.isfinite(pairs.effects[4, 5])


def test_too_few_trials():
    assert effects(synthetic.search(trials=9)) is None
    assert len(effects(synthetic.search(trials=10)).pairs) == 1
    rows = [replace(row, score=0.5) for row in synthetic.search().records]
    assert effects(SearchResults(tuple(rows), synthetic.ONE)) is None
    failures = synthetic.with_failures(synthetic.search(trials=9), *["PRUNED"] * 5)
    assert effects(failures) is None


def test_importance():
    found = effects(synthetic.search(names=("attention", "ffn")))
    # What has one value only cannot be told.
    lost = found.importance
    assert set(lost) == {"attention", "ffn", "units", "learning_rate"}
    assert list(lost.values()) == sorted(lost.values(), reverse=True)
    assert lost["learning_rate"] < 0.05
    assert min(lost[name] for name in ("attention", "ffn", "units")) > 0.1
    assert found.explained > 0.8


def test_a_best_value_in_the_middle_matters():
    rows = synthetic.search(sites=2, trials=40).records
    rows = [
        replace(row, hyperparameters={"rate": i % 9}, score=-abs(i % 9 - 4.0))
        for i, row in enumerate(rows)
    ]
    found = effects(SearchResults(tuple(rows), synthetic.ONE))
    assert found.importance["rate"] > 0.7


def test_values_of_all_kinds():
    rng = np.random.default_rng(0)
    rows = []
    for i, row in enumerate(synthetic.search(trials=40).records):
        values = {
            "optimizer": str(rng.choice(["adam", "sgd"])),
            "bias": bool(i % 2),
            "rank": int(rng.integers(4)) if i % 3 else None,
            "odd": [1, i % 2],
            "tuner/epochs": i,
            "sharing.2": i,
        }
        score = float(values["optimizer"] == "adam")
        rows.append(replace(row, hyperparameters=values, score=score))
    # A pattern in a scope that is not always active, and of fewer sites.
    rows[3] = replace(rows[3], patterns={})
    rows[4] = replace(rows[4], patterns={"sharing": SharingPattern("AB")})
    lost = effects(SearchResults(tuple(rows), synthetic.ONE)).importance
    assert set(lost) == {"sharing", "optimizer", "bias", "rank", "odd"}
    first, *others = lost.items()
    assert first[0] == "optimizer" and first[1] > 0.5
    assert max(value for _, value in others) < 0.1
