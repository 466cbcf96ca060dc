"""The recording of trials: nothing lost, failures told."""

import copy
import json
import time

import keras
import keras_tuner as kt
import numpy as np
import pytest
from quick_search import ALL, DATA, Untrained, X, Y, build, failing, quick, size

import keras_share
from keras_share import SharingPattern
from keras_share.search import (
    GridSearch,
    RandomSearch,
    SearchResults,
    SharingSearch,
    sharing_pattern,
)


def test_rows_are_plain_json_without_leftovers(tmp_path):
    tuner = quick(RandomSearch, tmp_path, max_trials=2, measure=size)
    tuner.search(verbose=0)
    files = sorted((tmp_path / "untitled_project" / "results").iterdir())
    assert [file.name for file in files] == ["0.json", "1.json"]
    written = [json.loads(file.read_text()) for file in files]
    assert written == [record.to_dict() for record in tuner.results.records]


def test_row_tells_when_where_and_of_what(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "left")
    before = time.time()
    tuner = quick(GridSearch, tmp_path, max_trials=2)
    tuner.search(verbose=0)
    first, second = tuner.results.records
    assert before < first.started < first.ended <= second.started < time.time()
    assert first.seconds == first.ended - first.started
    assert first.worker == "left"
    assert first.objectives == {"val_accuracy": "max"}
    assert second.patterns == {"sharing": SharingPattern("AAAB")}
    # What its index means is a hyperparameter of the trial, and in no row.
    assert second.hyperparameters == {"sharing": 1}


@pytest.mark.parametrize("kind", ["history", "dictionary", "number"])
def test_the_oracle_knows_the_measures(kind, tmp_path):
    class Measured(Untrained):
        def fit(self, hp, model, callbacks):
            if kind == "number":
                return 0.5
            if kind == "dictionary":
                return {"val_accuracy": 0.5, "val_loss": 1.0}
            history = keras.callbacks.History()
            history.epoch = [4, 5]
            history.history = {"val_accuracy": [0.5, 0.4], "val_loss": [1.0, 2.0]}
            return history

    tuner = quick(
        GridSearch,
        tmp_path,
        Measured(),
        max_trials=2,
        executions_per_trial=2,
        measure=lambda model: {**size(model), "ram": 7.5},
    )
    tuner.search(verbose=0)
    for row in tuner.results.records:
        path = tmp_path / f"untitled_project/trial_{row.trial_id}/trial.json"
        saved = json.loads(path.read_text())["metrics"]["metrics"]
        values = {name: m["observations"][0]["value"] for name, m in saved.items()}
        assert values["parameters"] == [row.parameters]
        assert values["exported_bytes"] == [row.measures["exported_bytes"]]
        assert values["ram"] == [7.5]
        assert saved["ram"]["direction"] == "min"
        others = set() if kind == "number" else {"val_loss"}
        assert row.metrics.keys() == {"val_accuracy"} | others
        assert row.measures.keys() == {"exported_bytes", "ram"}
        assert row.score == 0.5


def test_trials_per_process(tmp_path):
    hypermodel = Untrained()
    tuner = quick(
        RandomSearch, tmp_path, hypermodel, max_trials=5, trials_per_process=2
    )
    for _ in range(2):  # the same process
        tuner.search(verbose=0)
        assert hypermodel.fits == len(tuner.results) == 2
    quick(RandomSearch, tmp_path, max_trials=5).search(verbose=0)
    assert [row.status for row in tuner.results.records] == ["COMPLETED"] * 5


def test_search_without_a_hypermodel(tmp_path):
    with pytest.raises(ValueError, match=r"`hypermodel` must be.*hypermodel=None"):
        RandomSearch(None, "val_accuracy", directory=tmp_path)


def test_failing_trial_is_told_and_recorded(tmp_path, capsys):
    tuner = quick(GridSearch, tmp_path, failing({"AABA"}), max_trials=5)
    tuner.search(verbose=0)
    err = capsys.readouterr().err
    # KerasTuner prints the traceback; if it stops doing so, `Recording` must.
    assert err.count("Traceback (most recent call last)") == 1
    assert err.count("OSError: no such weights") == 2
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


def test_results_stand_when_failures_repeat(tmp_path, capsys):
    tuner = quick(GridSearch, tmp_path, failing(ALL[1:]), max_trials=9)
    with pytest.raises(
        RuntimeError,
        match=r"3 trials in a row failed, trial 3 with: OSError: no such weights\n.*"
        r"Mend the cause and start the search again.*max_consecutive_failed_trials",
    ):
        tuner.search(verbose=0)
    status = [row.status for row in tuner.results.records]
    assert status == ["COMPLETED", "FAILED", "FAILED", "FAILED"]
    assert capsys.readouterr().err.count("Traceback (most recent call last)") == 3
    assert SearchResults.load(tuner.project_dir).leaderboard()["pattern"][0] == "AAAA"


def test_failing_build(tmp_path, capsys):
    class Unbuildable(Untrained):
        def build(self, hp):
            model = super().build(hp)
            if str(self.pattern) == "AAAB":
                raise OSError("no such layer")
            return model

    tuner = quick(GridSearch, tmp_path, Unbuildable(), max_trials=3)
    tuner.search(verbose=0)
    assert "pattern: AAAB" in capsys.readouterr().err
    assert tuner.leaderboard()["message"].iloc[-1] == "OSError: no such layer"


@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")  # KerasTuner's own
def test_nan_is_a_failure(tmp_path, capsys):
    def score(pattern):
        return float("nan") if str(pattern) == "AAAB" else 0.5

    tuner = quick(GridSearch, tmp_path, Untrained(score), max_trials=3)
    tuner.search(verbose=0)
    assert "Trial 1 failed: val_accuracy is NaN" in capsys.readouterr().err
    board = tuner.leaderboard()
    assert list(board["status"]) == ["COMPLETED", "COMPLETED", "FAILED"]
    assert board["message"].iloc[-1] == "val_accuracy is NaN"


def test_retried_trial_has_one_row(tmp_path):
    class Moody(Untrained):
        def fit(self, hp, model, callbacks):
            if self.fits == 0:
                self.fits = 1
                raise OSError("not today")
            return super().fit(hp, model, callbacks)

    tuner = quick(RandomSearch, tmp_path, Moody(), max_trials=2)
    tuner.oracle.max_retries_per_trial = 1
    tuner.search(verbose=0)
    assert [row.status for row in tuner.results.records] == ["COMPLETED"] * 2
    assert [row.message for row in tuner.results.records] == [None, None]


def test_executions_per_trial_are_averaged_and_measured_once(tmp_path):
    measured = []

    def measure(model):
        measured.append(model)
        return {"ram": 7.5}

    hypermodel = Untrained(lambda pattern: float(hypermodel.fits % 2))
    tuner = quick(
        RandomSearch,
        tmp_path,
        hypermodel,
        max_trials=2,
        executions_per_trial=2,
        measure=measure,
    )
    tuner.search(verbose=0)
    assert hypermodel.fits == 4
    assert len(measured) == 2
    board = tuner.leaderboard()
    assert list(board["val_accuracy"]) == [0.5, 0.5]
    assert list(board["ram"]) == [7.5, 7.5]


def test_oversized_model_is_recorded(tmp_path):
    tuner = quick(GridSearch, tmp_path, max_trials=15, max_model_size=6)
    tuner.search(verbose=0)
    board = tuner.leaderboard()
    assert set(board["status"][board["parameters"] > 6]) == {"FAILED"}
    assert set(board["status"][board["parameters"] <= 6]) == {"COMPLETED"}


def test_model_that_cannot_be_measured_is_not_trained(tmp_path):
    def measure(model):
        if model.count_params() > 4:
            raise OSError("unsupported operator")
        return {}

    hypermodel = Untrained()
    tuner = quick(
        RandomSearch,
        tmp_path,
        hypermodel,
        max_trials=15,
        measure=measure,
        max_consecutive_failed_trials=99,
    )
    tuner.search(verbose=0)
    status = tuner.leaderboard()["status"]
    assert hypermodel.fits == (status == "COMPLETED").sum() == 8
    assert (status == "FAILED").sum() == 7


def test_model_without_input_shape_is_measured_after_training(tmp_path):
    def unbuilt(hp):
        pattern = sharing_pattern(hp, 2)
        model = keras.Sequential(
            [keras.layers.Dense(pattern.num_groups), keras.layers.Dense(1)]
        )
        model.compile("sgd", "mse", jit_compile=False)
        return model

    tuner = RandomSearch(
        unbuilt, "loss", 2, export=None, measure=size, directory=tmp_path
    )
    tuner.search(X, Y[:, None], verbose=0)
    board = tuner.leaderboard()
    assert list(board["parameters"]) == list(6 * board["num_groups"] + 1)
    assert board["exported_bytes"].notna().all()


def test_the_hypermodel_can_be_copied(tmp_path):
    tuner = quick(RandomSearch, tmp_path)
    again = copy.copy(tuner.hypermodel)
    assert again.score is tuner.hypermodel.score


def test_seed_0_is_a_seed(tmp_path):
    tried = [
        quick(cls, tmp_path / f"{number}", seed=0, max_trials=1).oracle.seed
        for number, cls in enumerate([RandomSearch, SharingSearch] * 2)
    ]
    assert len(set(tried)) == 1


@pytest.mark.parametrize(
    "options", [{}, {"export": {"quantization": "int8", "representative_dataset": [X]}}]
)
def test_export_gives_the_bytes(options, tmp_path, monkeypatch):
    calls, sizes = [], []
    export = keras_share.export_tflite

    def export_tflite(model, path, **kwargs):
        calls.append(kwargs)
        report = export(model, path)
        sizes.append(path.stat().st_size)
        return report

    monkeypatch.setattr(keras_share, "export_tflite", export_tflite)
    tuner = RandomSearch(Untrained(), "val_accuracy", 2, directory=tmp_path, **options)
    tuner.search(verbose=0)
    chosen = options.get("export", {"quantization": "dynamic"})
    # For its size, and without an end of the trial if weights come apart.
    assert calls == [{"target": "accelerator", "strict": False, **chosen}] * 2
    rows = tuner.results.records
    assert [row.measures["exported_bytes"] for row in rows] == sizes


def test_bad_arguments(tmp_path):
    with pytest.raises(TypeError, match=r"`export` must be a dictionary.*'dynamic'"):
        quick(RandomSearch, tmp_path, export="dynamic")
    with pytest.raises(
        TypeError, match=r"`measure` must be a function.*Received: measure=3"
    ):
        quick(RandomSearch, tmp_path, measure=3)
    with pytest.raises(ValueError, match="max_trails"):
        quick(RandomSearch, tmp_path, max_trails=3)
    with pytest.raises(ValueError, match=r"`verbose` must be.*'loud'"):
        quick(RandomSearch, tmp_path).search(verbose="loud")


def test_only_our_lines_are_printed(tmp_path, capfd):
    tuner = RandomSearch(
        build, "val_accuracy", 2, directory=tmp_path, export=None, measure=size
    )
    tuner.search(**DATA, epochs=1)
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("trial 1/2  ")
    assert "val_accuracy" in lines[1]
    assert keras.config.is_interactive_logging_enabled()


def test_silent(tmp_path, capfd):
    tuner = RandomSearch(build, "val_accuracy", 1, directory=tmp_path, export=None)
    tuner.search(**DATA, epochs=1, verbose=0)
    assert capfd.readouterr().out == ""


def test_hypermodel_serves_the_user_as_before(tmp_path):
    hypermodel = Untrained()
    hypermodel.purpose = "speech"
    tuner = quick(RandomSearch, tmp_path, hypermodel, max_trials=2)
    tuner.search(verbose=0)
    hp = tuner.get_best_hyperparameters()[0]
    model = tuner.hypermodel.build(hp)
    assert tuner.hypermodel.purpose == "speech"
    assert tuner.hypermodel.fit(hp, model, callbacks=[])["val_loss"] == 1.0
    assert len(tuner.results) == 2


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

    tuner = quick(RandomSearch, tmp_path / "two", Two(), max_trials=2)
    tuner.search(verbose=0)
    board = tuner.leaderboard()
    assert list(board["pattern"]) == ["ffn/sharing=ABA attention=AAA"]
    assert list(board["num_groups"]) == [3]

    tuner = quick(RandomSearch, tmp_path / "none", Without(), max_trials=5)
    tuner.search(verbose=0)
    board = tuner.leaderboard()
    assert list(board["pattern"]) == ["", ""]
    assert board["num_groups"].isna().all()
