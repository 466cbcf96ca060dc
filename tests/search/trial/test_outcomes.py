"""Trials that fail, are rejected or are pruned."""

import pytest
from quick_search import ALL, Untrained, failing, quick

from keras_share.search import GridSearch
from keras_share.search.trial.outcomes import TrialRejected


def test_search_goes_on_after_too_many_failures(tmp_path, capsys):
    for expected in (3, 6):
        tuner = quick(GridSearch, tmp_path, failing(ALL), max_trials=9)
        with pytest.raises(RuntimeError, match="3 trials in a row failed"):
            tuner.search(verbose=0)
        assert len(tuner.results) == len(tuner.oracle.trials) == expected
    rest = quick(GridSearch, tmp_path, max_trials=9, on_change="continue")
    rest.search(verbose=0)
    status = [row.status for row in rest.results.records]
    assert status == ["FAILED"] * 6 + ["COMPLETED"] * 3


def rejecting(bad):
    def score(pattern):
        if str(pattern) in bad:
            raise TrialRejected("too large")
        return 0.5

    return Untrained(score)


def test_rejected_trials_do_not_count(tmp_path, capsys):
    tuner = quick(GridSearch, tmp_path, rejecting(ALL[1:6]), max_trials=4)
    tuner.search(verbose=0)
    status = [row.status for row in tuner.results.records]
    assert status == ["COMPLETED", *["REJECTED"] * 5, *["COMPLETED"] * 3]
    row = tuner.results.records[1]
    assert (row.message, row.score, row.metrics) == ("too large", None, {})
    assert row.pattern == ALL[1]
    assert "Traceback" not in capsys.readouterr().err
    assert tuner.oracle.max_trials == 9
    again = quick(GridSearch, tmp_path, rejecting(ALL[1:6]), max_trials=5)
    again.search(verbose=0)
    assert len(again.results) == 10


def test_too_many_rejections_end_the_search(tmp_path):
    tuner = quick(GridSearch, tmp_path, rejecting(ALL), max_trials=1)
    with pytest.raises(
        RuntimeError, match=r"10 trials in a row were rejected, trial \d+ with: too lar"
    ):
        tuner.search(verbose=0)
    assert len(tuner.results) == 10


def test_pruned_trial(tmp_path, capsys):
    class Pruning(Untrained):
        def fit(self, hp, model, callbacks):
            if str(self.pattern) != "AAAA":
                tuner._running.pruned = "pruned after epoch 3"
            return super().fit(hp, model, callbacks)

    tuner = quick(GridSearch, tmp_path, Pruning(), max_trials=6)
    tuner.search(verbose=0)
    first, *others = tuner.results.records
    assert first.status == "COMPLETED"
    for row in others:
        assert row.status == "PRUNED"
        assert row.score is None
        assert row.message == "pruned after epoch 3"
        assert row.metrics.keys() == {"val_accuracy", "val_loss"}
    assert tuner.oracle.get_best_trials(1)[0].trial_id == first.trial_id
    assert capsys.readouterr().err == ""
