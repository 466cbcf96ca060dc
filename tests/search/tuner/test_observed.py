"""What is seen of each trial's model, and of its epochs."""

import copy

import keras
import keras_tuner as kt
import pytest
from optuna.pruners import MedianPruner
from quick_search import DATA, Untrained, X, Y, build, in_order, quick, size

import keras_share
from keras_share.search import FairPruner, SharingSearch, sharing_pattern


@pytest.mark.parametrize("kind", ["history", "dictionary", "number"])
def test_measures_stand_beside_any_result(kind, tmp_path):
    class Measured(Untrained):
        def fit(self, hp, model, callbacks):
            self.fits += 1
            if kind == "number":
                return 0.5
            if kind == "dictionary":
                return {"val_accuracy": 0.5, "val_loss": 1.0}
            history = keras.callbacks.History()
            history.epoch = [4, 5]
            history.history = {"val_accuracy": [0.5, 0.4], "val_loss": [1.0, 2.0]}
            return history

    measured = []

    def measure(model):
        measured.append(model)
        return {**size(model), "ram": 7.5}

    hypermodel = Measured()
    tuner = in_order(
        *(tmp_path, hypermodel),
        **{"max_trials": 2, "executions_per_trial": 2, "measure": measure},
    )
    tuner.search(verbose=0)
    assert (hypermodel.fits, len(measured)) == (4, 2)
    for row in tuner.results.records:
        others = set() if kind == "number" else {"val_loss"}
        assert row.metrics.keys() == {"val_accuracy"} | others
        assert row.measures.keys() == {"exported_bytes", "ram"}
        assert row.parameters == 2 * row.num_groups
        assert row.score == 0.5
        trial = tuner.oracle.get_trial(row.trial_id)
        assert trial.metrics.get_best_value("ram") == 7.5


def test_executions_per_trial_are_averaged(tmp_path):
    hypermodel = Untrained(lambda pattern: float(hypermodel.fits % 2))
    tuner = in_order(tmp_path, hypermodel, max_trials=2, executions_per_trial=2)
    tuner.search(verbose=0)
    assert list(tuner.leaderboard()["val_accuracy"]) == [0.5, 0.5]


def test_model_that_cannot_be_measured_is_not_trained(tmp_path):
    def measure(model):
        if model.count_params() > 4:
            raise OSError("unsupported operator")
        return {}

    hypermodel = Untrained()
    tuner = in_order(
        *(tmp_path, hypermodel),
        **{"max_trials": 15, "measure": measure, "max_model_size": 6},
        max_consecutive_failed_trials=99,
    )
    tuner.search(verbose=0)
    board = tuner.leaderboard()
    assert hypermodel.fits == (board["status"] == "COMPLETED").sum() == 8
    assert set(board["status"][board["parameters"] > 4]) == {"FAILED"}


def test_model_without_input_shape_is_measured_after_training(tmp_path):
    def unbuilt(hp):
        pattern = sharing_pattern(hp, 2)
        model = keras.Sequential(
            [keras.layers.Dense(pattern.num_groups), keras.layers.Dense(1)]
        )
        model.compile("sgd", "mse", run_eagerly=True)
        return model

    both = ["loss", "exported_bytes"]
    tuner = SharingSearch(
        unbuilt, both, 2, export=None, measure=size, directory=tmp_path
    )
    tuner.search(X, Y[:, None], verbose=0)
    board = tuner.leaderboard()
    assert list(board["parameters"]) == list(6 * board["num_groups"] + 1)
    assert board["exported_bytes"].notna().all()


def test_the_hypermodel_serves_the_user_as_before(tmp_path):
    hypermodel = Untrained()
    hypermodel.purpose = "speech"
    tuner = in_order(tmp_path, hypermodel, max_trials=2)
    tuner.search(verbose=0)
    hp = tuner.get_best_hyperparameters()[0]
    model = tuner.hypermodel.build(hp)
    assert tuner.hypermodel.purpose == "speech"
    assert tuner.hypermodel.fit(hp, model, callbacks=[])["val_loss"] == 1.0
    assert len(tuner.results) == 2
    assert copy.copy(tuner.hypermodel).score is tuner.hypermodel.score


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
    tuner = SharingSearch(Untrained(), "val_accuracy", 2, directory=tmp_path, **options)
    tuner.search(verbose=0)
    chosen = options.get("export", {"quantization": "dynamic"})
    # For its size, and without an end of the trial if weights come apart.
    assert calls == [{"target": "accelerator", "strict": False, **chosen}] * 2
    rows = tuner.results.records
    assert [row.measures["exported_bytes"] for row in rows] == sizes


def test_only_our_lines_are_printed(tmp_path, capfd):
    with pytest.raises(ValueError, match=r"`verbose` must be.*'loud'"):
        quick(SharingSearch, tmp_path).search(verbose="loud")
    tuner = SharingSearch(
        *(build, "val_accuracy", 2),
        **{"directory": tmp_path, "export": None, "measure": size},
        on_change="continue",
    )
    tuner.search(**DATA, epochs=1)
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("trial 1/2  ")
    assert "val_accuracy" in lines[1]
    assert keras.config.is_interactive_logging_enabled()
    more = SharingSearch(
        *(build, "val_accuracy", 3),
        **{"directory": tmp_path, "export": None, "measure": size},
    )
    more.search(**DATA, epochs=1, verbose=0)
    assert capfd.readouterr().out == ""


class Rates(kt.HyperModel):
    """Models that learn in all trials but the third."""

    def build(self, hp):
        rate = 0.0 if hp.Int("i", 0, 3) == 2 else 0.5
        zeros = keras.layers.Dense(1, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input((4,)), zeros])
        optimizer = keras.optimizers.SGD(rate)
        model.compile(optimizer, "mse", metrics=["mae"], run_eagerly=True)
        return model


@pytest.mark.parametrize(
    "pruning",
    [
        FairPruner(MedianPruner(n_startup_trials=2, n_warmup_steps=1)),
        MedianPruner(n_startup_trials=2, n_warmup_steps=1),
    ],
    ids=["fair", "plain"],
)
def test_real_training_is_stopped(pruning, tmp_path):
    tuner = in_order(tmp_path, Rates(), pruning=pruning, max_trials=3)
    tuner = SharingSearch(
        *(Rates(), "val_loss", 3, tuner.oracle.policy),
        **{"pruning": pruning, "export": None, "directory": tmp_path / "p"},
    )
    tuner.search(**DATA, epochs=4, verbose=0)
    rows = tuner.results.records
    assert [row.status for row in rows] == ["COMPLETED"] * 2 + ["PRUNED"]
    assert rows[2].message == "pruned after epoch 2"
    assert rows[2].score is None and rows[2].metrics["val_mae"] > 0
    for trial, row in zip(tuner.oracle.project.trials(), rows, strict=True):
        values = [*trial.intermediate_values.values()]
        assert len(values) == (2 if row.status == "PRUNED" else 4)
        assert row.score in (None, min(values))
    best = min(row.score for row in rows if row.score is not None)
    found = tuner.get_best_models()[0].evaluate(X, Y, verbose=0)[0]
    assert found == pytest.approx(best)


@pytest.mark.parametrize(
    ("objective", "missing"),
    [
        (kt.Objective("val_acuracy", "max"), ["val_acuracy"]),
        (["val_loss", kt.Objective("ram", "min")], ["ram"]),
        (["val_loss", "latency_ms"], ["latency_ms"]),
    ],
)
def test_objective_that_nobody_measures_ends_in_the_first_epoch(
    objective, missing, tmp_path
):
    epochs = []

    class Counting(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            epochs.append(epoch)

        def __deepcopy__(self, memo):
            return self

    tuner = SharingSearch(
        *(Rates(), objective, 4),
        **{"export": None, "measure": size, "directory": tmp_path},
    )
    with pytest.raises(
        kt.errors.FatalValueError,
        match=rf"Received: no \['{missing[0]}'\] among \[.*'loss', 'mae', .*'val_mae'",
    ):
        tuner.search(**DATA, epochs=3, verbose=0, callbacks=[Counting()])
    assert epochs == [0]
    assert len(tuner.results) == 0


def test_epochs_without_validation_are_not_complained_of(tmp_path):
    tuner = SharingSearch(
        Rates(), "val_loss", 1, export=None, directory=tmp_path, pruning="median"
    )
    tuner.search(**DATA, epochs=4, validation_freq=2, verbose=0)
    (trial,) = tuner.oracle.project.trials()
    assert [*trial.intermediate_values] == [1, 3]
    assert tuner.results.records[0].status == "COMPLETED"
