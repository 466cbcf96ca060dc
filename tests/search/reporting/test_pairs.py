"""The estimate of which sites like to share, on searches with known effects."""

from dataclasses import replace

import numpy as np
import pytest
import synthetic_search as synthetic

from keras_share.search import SearchResults
from keras_share.search.reporting.pairs import pair_effects


@pytest.mark.parametrize("names", [("sharing",), ("attention", "ffn")])
def test_effects_are_found(names):
    results = synthetic.search(names=names)
    found = pair_effects(results)
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
    (pairs,) = pair_effects(SearchResults(tuple(rows), synthetic.ONE))
    assert abs(pairs.effects[2, 3]) < 0.01


def test_luck_is_told_as_such():
    rng = np.random.default_rng(0)
    rows = [replace(r, score=rng.normal()) for r in synthetic.search().records]
    (pairs,) = pair_effects(SearchResults(tuple(rows), synthetic.ONE))
    assert pairs.explained < 0.05


def test_what_trials_cannot_tell():
    rows = [row for row in synthetic.search(200).records if row.pattern[:2] == "AA"]
    (pairs,) = pair_effects(SearchResults(tuple(rows), synthetic.ONE))
    assert np.isnan(pairs.effects[0, 1]) and pairs.counts[0, 1] == len(rows)
    assert np.isfinite(pairs.effects[4, 5])


def test_too_few_trials():
    assert pair_effects(synthetic.search(trials=9)) == []
    assert len(pair_effects(synthetic.search(trials=10))) == 1
    rows = [replace(row, score=0.5) for row in synthetic.search().records]
    assert pair_effects(SearchResults(tuple(rows), synthetic.ONE)) == []
    failures = synthetic.with_failures(synthetic.search(trials=9), *["PRUNED"] * 5)
    assert pair_effects(failures) == []
