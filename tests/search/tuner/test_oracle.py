"""Trials in a study: none lost, none twice, failures told, whatever interrupts them."""

import itertools
import time

import keras
import keras_tuner as kt
import numpy as np
import optuna
import pytest
from quick_search import ALL, Untrained, failing, in_order, patterns, quick, size

from keras_share import SharingPattern
from keras_share.search import (
    SearchResults,
    SharingSearch,
    TrialRejected,
    sharing_pattern,
)


def statuses(tuner):
    return [row.status for row in tuner.results.records]


def test_the_study_has_everything(tmp_path):
    class Curves(Untrained):
        def fit(self, hp, model, callbacks):
            hp.Float("rate", 1e-4, 1e-2, sampling="log")
            for callback in callbacks:
                callback.set_params({"epochs": 2})
                callback.set_model(model)
            for epoch in range(2):
                for callback in callbacks[-1:]:
                    callback.on_epoch_end(epoch, {"val_accuracy": epoch / 2})
            return super().fit(hp, model, callbacks)

    before = time.time()
    tuner = quick(
        *(SharingSearch, tmp_path, Curves()),
        **{"max_trials": 3, "measure": size, "max_bytes": 1e6},
    )
    tuner.search(verbose=0)
    url = f"sqlite:///{tmp_path}/untitled_project/study.db"
    study = optuna.load_study(study_name="untitled_project", storage=url)
    assert study.metric_names == ["val_accuracy"]
    assert study.direction.name == "MAXIMIZE"
    for trial, row in zip(study.trials, tuner.results.records, strict=True):
        assert trial.value == row.score
        assert trial.intermediate_values == {0: 0.0, 1: 0.5}
        assert trial.user_attrs["sharing"] == row.pattern
        assert trial.user_attrs["exported_bytes"] == row.measures["exported_bytes"]
        assert trial.constraints["exported_bytes"] == (
            row.measures["exported_bytes"] - 1e6
        )
        assert trial.distributions["sharing"] == optuna.distributions.IntDistribution(
            0, 14
        )
        assert before < row.started < row.ended < time.time()
        assert row.seconds == pytest.approx(row.ended - row.started, abs=1e-3)
        assert row.patterns == {"sharing": SharingPattern(row.pattern)}
        # What its index means is the same in every trial.
        assert row.hyperparameters["sharing"] == row.patterns["sharing"].rank()
    # The second trial knows what the first has brought.
    assert [*map(len, (t.params for t in study.trials))][1:] == [2, 2]
    frame = study.trials_dataframe()
    assert {"params_sharing", "user_attrs_val_loss", "state"} <= {*frame}
    assert SearchResults.load(tuner.project_dir) == tuner.results
    assert len(SearchResults.of(study)) == 3


def test_small_space_is_exhausted_without_duplicates(tmp_path):
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

    tuner = quick(SharingSearch, tmp_path, Conditional(), max_trials=50)
    tuner.search(verbose=0)
    values = [row.hyperparameters for row in tuner.results.records]
    assert len(values) == 1 + 2 + 5
    assert len({frozenset(v.items()) for v in values}) == len(values)


def test_sequence_does_not_depend_on_restarts(tmp_path):
    whole = quick(SharingSearch, tmp_path / "whole", max_trials=8)
    whole.search(verbose=0)
    for _ in range(4):
        part = quick(
            SharingSearch, tmp_path / "part", max_trials=8, trials_per_process=2
        )
        part.search(verbose=0)
    assert patterns(part) == patterns(whole)


def test_trials_per_process(tmp_path):
    hypermodel = Untrained()
    tuner = in_order(tmp_path, hypermodel, max_trials=5, trials_per_process=2)
    for _ in range(2):  # the same process
        tuner.search(verbose=0)
        assert hypermodel.fits == len(tuner.results) == 2
        assert not tuner.is_over
    in_order(tmp_path, max_trials=5).search(verbose=0)
    assert statuses(tuner) == ["COMPLETED"] * 5
    assert patterns(tuner) == ALL[:5]


def test_interruption_by_hand_is_no_death(tmp_path):
    class Interrupted(Untrained):
        def fit(self, hp, model, callbacks):
            raise KeyboardInterrupt

    for _ in range(3):
        tuner = in_order(tmp_path, Interrupted(), max_trials=2)
        with pytest.raises(KeyboardInterrupt):
            tuner.search(verbose=0)
        assert len(tuner.results) == 0
    rest = in_order(tmp_path, max_trials=2, on_change="continue")
    rest.search(verbose=0)
    assert statuses(rest) == ["COMPLETED"] * 2
    assert patterns(rest) == ALL[:2]


def test_overwrite_starts_clean(tmp_path):
    in_order(tmp_path, max_trials=3).search(verbose=0)
    tuner = in_order(tmp_path, max_trials=2, overwrite=True)
    assert len(tuner.results) == 0
    tuner.search(verbose=0)
    assert len(tuner.results) == 2


def test_failing_trial_is_told_and_recorded(tmp_path, capsys):
    tuner = in_order(tmp_path, failing({"AABA"}), max_trials=5)
    tuner.search(verbose=0)
    err = capsys.readouterr().err
    # KerasTuner prints the traceback; if it stops doing so, the tuner must.
    assert err.count("Traceback (most recent call last)") == 1
    assert "in score" in err
    assert "Trial 2 failed: OSError: no such weights" in err
    assert "pattern: AABA" in err
    assert "hyperparameters: {'sharing': 2}" in err
    board = tuner.leaderboard()
    assert list(board["status"]) == ["COMPLETED"] * 4 + ["FAILED"]
    last = board.iloc[-1]
    assert last["pattern"] == "AABA"
    assert last["parameters"] == 4
    assert last["message"] == "OSError: no such weights"
    assert np.isnan(last["val_accuracy"])
    (row,) = (row for row in tuner.results.records if row.status == "FAILED")
    assert "Traceback" in row.message


def test_search_goes_on_after_too_many_failures(tmp_path, capsys):
    for expected in (4, 7):
        tuner = in_order(tmp_path, failing(ALL[1:]), max_trials=9)
        with pytest.raises(
            RuntimeError,
            match=r"3 trials in a row failed, trial \d with: OSError: no such weights\n"
            r".*Mend the cause and start the search again.*max_consecutive_failed_",
        ):
            tuner.search(verbose=0)
        assert len(tuner.results) == len(tuner.oracle.trials) == expected
    rest = in_order(tmp_path, max_trials=9, on_change="continue")
    rest.search(verbose=0)
    assert statuses(rest) == ["COMPLETED", *["FAILED"] * 6, *["COMPLETED"] * 2]


def test_failing_build(tmp_path, capsys):
    class Unbuildable(Untrained):
        def build(self, hp):
            model = super().build(hp)
            if str(self.pattern) == "AAAB":
                raise OSError("no such layer")
            return model

    tuner = in_order(tmp_path, Unbuildable(), max_trials=3)
    tuner.search(verbose=0)
    assert "pattern: AAAB" in capsys.readouterr().err
    assert tuner.leaderboard()["message"].iloc[-1] == "OSError: no such layer"


def test_retried_trial_has_one_row_and_its_own_metrics(tmp_path):
    scores = itertools.chain([float("nan")], itertools.repeat(0.25))

    class Moody(Untrained):
        def fit(self, hp, model, callbacks):
            if self.fits == 1:
                self.fits += 1
                raise OSError("not today")
            return super().fit(hp, model, callbacks)

    tuner = in_order(tmp_path, Moody(lambda pattern: next(scores)), max_trials=2)
    tuner.oracle.max_retries_per_trial = 2
    tuner.search(verbose=0)
    assert [row.score for row in tuner.results.records] == [0.25, 0.25]
    assert [row.message for row in tuner.results.records] == [None, None]


def rejecting(bad):
    def score(pattern):
        if str(pattern) in bad:
            raise TrialRejected("too large")
        return 0.5

    return Untrained(score)


def test_rejected_trials_do_not_count(tmp_path, capsys):
    tuner = in_order(tmp_path, rejecting(ALL[1:6]), max_trials=4)
    tuner.search(verbose=0)
    assert statuses(tuner) == ["COMPLETED", *["REJECTED"] * 5, *["COMPLETED"] * 3]
    row = tuner.results.records[1]
    assert (row.message, row.score, row.metrics) == ("too large", None, {})
    assert row.pattern == ALL[1]
    assert "Traceback" not in capsys.readouterr().err
    assert tuner.remaining_trials == 0
    again = in_order(tmp_path, rejecting(ALL[1:6]), max_trials=5)
    again.search(verbose=0)
    assert len(again.results) == 10


def test_too_many_rejections_end_the_search(tmp_path):
    tuner = in_order(tmp_path, rejecting(ALL), max_trials=1)
    with pytest.raises(
        RuntimeError, match=r"10 trials in a row were rejected, trial \d+ with: too lar"
    ):
        tuner.search(verbose=0)
    assert len(tuner.results) == 10


def test_what_changed_is_told_or_taken(tmp_path):
    in_order(tmp_path, max_trials=2).search(verbose=0)

    class Loss(Untrained):
        def build(self, hp):
            hp.Boolean("bias")
            return super().build(hp)

    with pytest.raises(ValueError, match=r"(?s)must be the same.*bias is new.*code: "):
        in_order(tmp_path, Loss(), max_trials=3).search(verbose=0)
    other = in_order(tmp_path, Loss(), max_trials=3, on_change="continue")
    other.search(verbose=0)
    assert statuses(other) == ["COMPLETED"] * 3
    f1 = kt.Objective("f1", "max")
    with pytest.raises(ValueError, match=r"keeps its objectives.*f1 \(max\), for"):
        SharingSearch(Loss(), f1, directory=tmp_path).search()


@pytest.mark.parametrize("left", ["oracle.json", "results/0.json"])
def test_older_projects_are_refused(left, tmp_path):
    path = tmp_path / "untitled_project" / left
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(ValueError, match="stock tuner or an earlier version"):
        in_order(tmp_path).search(verbose=0)
    tuner = in_order(tmp_path, overwrite=True, max_trials=1)
    tuner.search(verbose=0)
    assert len(tuner.results) == 1 and not path.exists()


def test_several_patterns_and_none(tmp_path):
    class Two(Untrained):
        def build(self, hp):
            with hp.name_scope("ffn"):
                self.pattern = sharing_pattern(hp, 3, families=["cycle:2"])
            sharing_pattern(hp, 3, name="attention", families=["shared"])
            inputs = keras.Input((1,))
            return keras.Model(inputs, keras.layers.Dense(1)(inputs))

    class Without(Two):
        def build(self, hp):
            model = super().build(kt.HyperParameters())
            hp.Boolean("flag")
            return model

    tuner = quick(SharingSearch, tmp_path / "two", Two(), max_trials=2)
    tuner.search(verbose=0)
    board = tuner.leaderboard()
    assert list(board["pattern"]) == ["attention=AAA ffn/sharing=ABA"]
    assert list(board["num_groups"]) == [3]

    tuner = quick(SharingSearch, tmp_path / "none", Without(), max_trials=5)
    tuner.search(verbose=0)
    board = tuner.leaderboard()
    assert list(board["pattern"]) == ["", ""]
    assert board["num_groups"].isna().all()


def test_what_a_trial_comes_upon_is_what_it_was_trained_with(tmp_path):
    """KerasTuner learns of a hyperparameter when a trial asks for it."""

    trained = []

    class Late(Untrained):
        def build(self, hp):
            self.used = {"relax": hp.Choice("relax", ["none", "rank"])}
            if self.used["relax"] == "rank":
                self.used["rank"] = hp.Int("rank", 1, 64)
                sharing_pattern(hp, 3, name="second")
                self.used["second"] = hp.get("second")
            return super().build(hp)

        def fit(self, *args, **kwargs):
            trained.append(self.used)
            return super().fit(*args, **kwargs)

    tuner = quick(SharingSearch, tmp_path, Late(), max_trials=8)
    tuner.search(verbose=0)
    assert {len(one) for one in trained} == {1, 3}
    again = quick(SharingSearch, tmp_path, Late(), max_trials=8)
    for oracle in (tuner.oracle, again.oracle):
        assert len(oracle.project.records()) == 8
        for one, _ in itertools.product(range(8), range(2)):
            values = oracle.trials[str(one)].hyperparameters.values
            assert trained[one].items() <= values.items()
    for row, one in zip(again.results.records, trained, strict=True):
        assert ("second" in row.pattern) >= ("second" in one)


def test_seed_0_is_a_seed(tmp_path):
    tried = [in_order(tmp_path, seed=0).oracle.seed for _ in range(2)]
    assert len(set(tried)) == 1


def test_looking_at_a_search_changes_nothing(tmp_path):
    tuner = in_order(tmp_path, max_trials=3)
    tuner.search(verbose=0)
    trial = tuner.oracle.project.begin([], {}, {}, {}, 99)  # as if one were running
    assert len(in_order(tmp_path, max_trials=3).leaderboard()) == 3
    found = in_order(tmp_path).oracle.project.study.trials
    assert found[trial.number].state.name == "RUNNING"
