"""What a search had found after each trial."""

from dataclasses import replace

import numpy as np
import pytest
import synthetic_search as synthetic

from keras_share.search import SearchResults, pareto
from keras_share.search.reporting.course import course


def test_best_so_far_and_hypervolume():
    results = synthetic.with_failures(synthetic.search(trials=20), "PRUNED")
    found = course(results)
    assert list(found["trial_id"]) == [row.trial_id for row in results.records]
    scores = [row.score for row in results.records[:-1]]
    np.testing.assert_array_equal(found["best"][:-1], np.maximum.accumulate(scores))
    assert np.isnan(found["score"].iloc[-1])
    assert found["best"].iloc[-1] == max(scores)

    sizes = [row.measures["exported_bytes"] for row in results.records[:-1]]
    points = np.stack([sizes, np.negative(scores)], axis=1)
    box = np.ptp(points, axis=0)
    for i in range(len(scores)):
        volume = pareto.hypervolume(points[: i + 1], points.max(axis=0))
        assert found["volume"][i] == pytest.approx(volume / box.prod())
    assert found["volume"].iloc[-1] == found["volume"].iloc[-2]
    assert results.hypervolume() == pytest.approx(found["volume"].iloc[-1] * box.prod())


def test_trials_are_told_in_the_order_in_which_they_ended():
    first, *rest = synthetic.search(trials=3).records
    late = replace(first, ended=first.ended + 1000)
    found = course(SearchResults((late, *rest), {"val_loss": "min"}))
    assert list(found["trial_id"]) == ["001", "002", "000"]
    assert found["best"].is_monotonic_decreasing


@pytest.mark.parametrize("trials", [0, 1])
def test_few_trials(trials):
    results = synthetic.with_failures(synthetic.search(trials=trials), "FAILED")
    found = course(results)
    assert len(found) == trials + 1
    assert found["volume"].isna().all()  # there is no box
    assert found["best"].notna().sum() == (2 if trials else 0)
