"""KerasTuner's own tuners search patterns as they are, and their results are read."""

import keras_tuner as kt
import optuna
import pytest
from quick_search import Untrained

from keras_share import SharingPattern
from keras_share.search import SearchResults, SharingSampler, suggest_pattern


class Short(Untrained):
    """Takes what Hyperband passes."""

    def fit(self, hp, model, callbacks, **kwargs):
        if str(self.pattern) == "AAAA":
            raise OSError("no such weights")
        return super().fit(hp, model, callbacks)


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (kt.RandomSearch, {"max_trials": 4}),
        (kt.BayesianOptimization, {"max_trials": 4}),
        (kt.GridSearch, {"max_trials": 4}),
        (kt.Hyperband, {"max_epochs": 2, "factor": 2}),
    ],
)
def test_results_of_a_stock_tuner(cls, arguments, tmp_path):
    tuner = cls(Short(), "val_accuracy", seed=2, directory=tmp_path, **arguments)
    if cls is kt.Hyperband:
        tuner._build_hypermodel = tuner.hypermodel.build  # no weights to go on with
    tuner.search(verbose=0)
    results = SearchResults.of(tuner)
    board = results.leaderboard()
    assert len(board) == len(tuner.oracle.trials) >= 2
    assert results.objectives == {"val_accuracy": "max"}
    for row in results.records:
        trial = tuner.oracle.get_trial(row.trial_id)
        index = trial.hyperparameters.values["sharing"]
        assert row.patterns == {"sharing": SharingPattern.from_rank(index, 4)}
        if row.pattern == "AAAA":
            assert (row.status, row.score, row.metrics) == ("FAILED", None, {})
            assert row.reason == "OSError: no such weights"
        else:
            assert row.score == trial.score == row.num_groups / 10
            assert row.metrics["val_loss"] == 1.0
    front = results.pareto_front("val_loss", "val_accuracy")
    assert front["val_accuracy"].max() == board["val_accuracy"].max()
    results.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_results_of_a_study_and_of_nothing():
    study = optuna.create_study(sampler=SharingSampler(seed=0), direction="maximize")
    study.optimize(lambda trial: suggest_pattern(trial, 4).num_groups, n_trials=4)
    results = SearchResults.of(study)
    assert results.objectives == {"value": "max"}
    for row, trial in zip(results.records, study.trials, strict=True):
        assert row.pattern == trial.user_attrs["sharing"]
        assert row.score == row.num_groups == trial.value
    with pytest.raises(TypeError, match=r"a tuner of KerasTuner or a study.*type list"):
        SearchResults.of([])
