"""What a search had found after each trial."""

from dataclasses import replace

import numpy as np
import pytest
import synthetic_search as synthetic

from keras_share.search import SearchResults
from keras_share.search.reporting.course import course


def test_best_so_far():
    results = synthetic.with_failures(synthetic.search(trials=20), "PRUNED")
    found = course(results)
    assert list(found["trial_id"]) == [row.trial_id for row in results.records]
    scores = [row.score for row in results.records[:-1]]
    np.testing.assert_array_equal(found["best"][:-1], np.maximum.accumulate(scores))
    assert np.isnan(found["score"].iloc[-1])
    assert found["best"].iloc[-1] == max(scores)


def test_trials_are_told_in_the_order_in_which_they_ended():
    first, *rest = synthetic.search(trials=3).records
    late = replace(first, ended=first.ended + 1000, score=0.1)
    found = course(SearchResults((late, *rest), {"val_loss": "min"}))
    assert list(found["trial_id"]) == ["001", "002", "000"]
    assert found["best"].iloc[-1] == 0.1


@pytest.mark.parametrize("trials", [0, 1])
def test_few_trials(trials):
    results = synthetic.with_failures(synthetic.search(trials=trials), "FAILED")
    found = course(results)
    assert len(found) == trials + 1
    assert found["best"].notna().sum() == (2 if trials else 0)
