"""The tuners: nothing tried twice, interrupted searches go on."""

import keras
import keras_tuner as kt
import pytest
from quick_search import ALL, DATA, Untrained, build, patterns, quick, size

from keras_share import SharingPattern
from keras_share.search import (
    BayesianOptimization,
    GridSearch,
    Hyperband,
    RandomSearch,
    SearchResults,
    sharing_pattern,
)

OURS = {
    RandomSearch: {"max_trials": 2},
    BayesianOptimization: {"max_trials": 2},
    GridSearch: {"max_trials": 2},
    Hyperband: {"max_epochs": 2, "factor": 2},
}


@pytest.mark.parametrize("cls", OURS)
def test_ours_search(cls, tmp_path):
    tuner = cls(
        *(build, "val_accuracy"),
        **OURS[cls],
        **{"seed": 1, "directory": tmp_path, "export": None, "measure": size},
    )
    tuner.search(**DATA, epochs=1, verbose=0)
    board = tuner.leaderboard()
    assert (board["status"] == "COMPLETED").all()
    assert list(board["val_accuracy"]) == sorted(board["val_accuracy"])[::-1]
    assert len(board) == len(tuner.oracle.trials) >= 2
    for row in board.to_dict("records"):
        pattern = SharingPattern(row["pattern"])
        assert pattern == SharingPattern.from_rank(row["hp/sharing"], 4)
        assert row["num_groups"] == pattern.num_groups
        assert row["parameters"] == 20 * pattern.num_groups + 10
        assert row["exported_bytes"] == 1000 + 4 * row["parameters"]
        assert row["seconds"] > 0
        trial = tuner.oracle.get_trial(row["trial_id"])
        assert row["val_accuracy"] == trial.score
        assert row["val_loss"] == trial.metrics.get_best_value("val_loss")
    assert len(tuner.pareto_front()) >= 1
    assert tuner.get_best_models()[0].count_params() == board["parameters"][0]


@pytest.mark.parametrize("cls", OURS)
def test_stock_search(cls, tmp_path):
    stock = getattr(kt, cls.__name__)
    tuner = stock(build, "val_accuracy", **OURS[cls], seed=1, directory=tmp_path)
    tuner.search(**DATA, epochs=1, verbose=0)
    trials = tuner.oracle.trials.values()
    assert len(trials) >= 2
    assert all(trial.status == "COMPLETED" for trial in trials)


@pytest.mark.parametrize("cls", [RandomSearch, BayesianOptimization, GridSearch])
def test_small_space_is_exhausted_without_duplicates(cls, tmp_path):
    tuner = quick(cls, tmp_path, max_trials=30)
    tuner.search(verbose=0)
    assert sorted(patterns(tuner)) == ALL
    assert {row.status for row in tuner.results.records} == {"COMPLETED"}


def test_bayesian_optimization_never_repeats_itself(tmp_path):
    # KerasTuner's own tries 4 patterns in these 12 trials: this test can fail.
    tuner = quick(BayesianOptimization, tmp_path / "ours", max_trials=12)
    tuner.search(verbose=0)
    assert len(set(patterns(tuner))) == 12

    again = quick(BayesianOptimization, tmp_path / "again", max_trials=12)
    again.search(verbose=0)
    assert patterns(again) == patterns(tuner)

    other = quick(BayesianOptimization, tmp_path / "other", max_trials=3, seed=2)
    other.search(verbose=0)
    assert patterns(other) != patterns(tuner)[:3]


def test_hyperband_repeats_a_pattern_only_to_continue_it(tmp_path):
    tuner = Hyperband(
        *(build, "val_accuracy"),
        max_epochs=3,
        **{"seed": 1, "directory": tmp_path, "export": None},
    )
    tuner.search(**DATA, verbose=0)
    started = [
        row.pattern
        for row in tuner.results.records
        if "tuner/trial_id" not in row.hyperparameters
    ]
    continued = [
        row for row in tuner.results.records if "tuner/trial_id" in row.hyperparameters
    ]
    by_id = {row.trial_id: row for row in tuner.results.records}
    assert len(set(started)) == len(started)
    assert continued
    for row in continued:
        origin = by_id[row.hyperparameters["tuner/trial_id"]]
        assert row.pattern == origin.pattern


def test_conditional_space_is_exhausted_without_duplicates(tmp_path):
    class Conditional(Untrained):
        def build(self, hp):
            kind = hp.Choice("kind", ["plain", "wide", "shared"], default="wide")
            with hp.conditional_scope("kind", ["shared"]):
                pattern = sharing_pattern(hp, 3)
            with hp.conditional_scope("kind", ["wide"]):
                hp.Boolean("bias")
            self.pattern = pattern or SharingPattern.unshared(3)
            assert (kind == "shared") == (pattern is not None)
            inputs = keras.Input((1,))
            return keras.Model(inputs, keras.layers.Dense(1)(inputs))

    for cls in (GridSearch, RandomSearch):
        tuner = quick(cls, tmp_path / cls.__name__, Conditional(), max_trials=50)
        tuner.search(verbose=0)
        values = [row.hyperparameters for row in tuner.results.records]
        assert len(values) == 1 + 2 + 5
        assert len({frozenset(v.items()) for v in values}) == len(values)
        if cls is GridSearch:
            assert values[0] == {"kind": "wide", "bias": False}


@pytest.mark.parametrize("cls", [RandomSearch, BayesianOptimization, GridSearch])
def test_interrupted_search_goes_on(cls, tmp_path):
    whole = quick(cls, tmp_path / "whole", max_trials=7)
    whole.search(verbose=0)

    class Interrupted(Untrained):
        def fit(self, hp, model, callbacks):
            if self.fits == 3:
                raise KeyboardInterrupt
            return super().fit(hp, model, callbacks)

    part = quick(cls, tmp_path / "part", Interrupted(), max_trials=7)
    with pytest.raises(KeyboardInterrupt):
        part.search(verbose=0)
    assert patterns(part) == patterns(whole)[:3]

    # The interruption is a change of the code.
    rest = quick(cls, tmp_path / "part", max_trials=7, on_change="continue")
    assert rest.results == part.results
    rest.search(verbose=0)
    assert len(set(patterns(rest))) == 7
    assert patterns(rest) == patterns(whole)
    assert SearchResults.load(rest.project_dir) == rest.results


def test_more_trials_of_a_finished_search(tmp_path):
    quick(RandomSearch, tmp_path, max_trials=4).search(verbose=0)
    tuner = quick(RandomSearch, tmp_path, max_trials=12)
    tuner.search(verbose=0)
    assert len(set(patterns(tuner))) == 12
    assert [row.trial_id for row in tuner.results.records][3:6] == ["3", "04", "05"]


def test_overwrite_starts_clean(tmp_path):
    quick(RandomSearch, tmp_path, max_trials=3).search(verbose=0)
    tuner = quick(RandomSearch, tmp_path, max_trials=2, overwrite=True)
    assert len(tuner.results) == 0
    tuner.search(verbose=0)
    assert len(tuner.results) == 2
