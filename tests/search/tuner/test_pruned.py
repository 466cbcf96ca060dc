"""Pruning: hopeless trials are stopped, the best never, and restarts change nothing."""

import copy
import math
import warnings

import keras
import keras_tuner as kt
import numpy as np
import pytest
from keras_tuner.engine.base_tuner import BaseTuner
from quick_search import DATA, X, Y

from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.trial.outcomes import PLANNED, PRUNED, outcome_of
from keras_share.search.trial.pruning import (
    Curve,
    MedianStopping,
    SuccessiveHalving,
)
from keras_share.search.tuner.durable import Durable
from keras_share.search.tuner.pruned import Pruned, ReportEpochs

RULES = {"median": MedianStopping(), "halving": SuccessiveHalving()}
EPOCHS = 27


class Listed(Pruned, Durable, kt.Oracle):
    """Tries the numbers 0, 1, 2, ... in order."""

    def populate_space(self, trial_id):
        return {"status": TrialStatus.RUNNING, "values": {"i": int(trial_id)}}


def make(folder, rule, objective="val_accuracy", num_trials=30):
    hps = kt.HyperParameters()
    hps.Int("i", 0, num_trials - 1)
    oracle = Listed(
        kt.Objective(objective, "max" if "acc" in objective else "min"),
        max_trials=num_trials,
        hyperparameters=hps,
    )
    oracle.verbose = 0
    oracle.pruning = rule
    BaseTuner(oracle, directory=folder).save()  # or reloads what is there
    return oracle


def learning_curves(num_trials=30, noise=0.0):
    """Accuracies of `num_trials` by `EPOCHS` that rise to levels far apart."""
    rng = np.random.default_rng(0)
    top = rng.permutation(np.linspace(0.3, 0.95, num_trials))[:, None]
    speed = rng.uniform(1, 2, size=(num_trials, 1))
    curves = top * (1 - np.exp(-speed * np.arange(1, EPOCHS + 1)))
    return curves + rng.normal(size=curves.shape) * noise


def drive(oracle, curves, until=math.inf):
    """Runs trials as a tuner would; returns the epochs of each in order.

    Args:
        until: To return, as if interrupted, before this report.
    """
    ran, reports = {}, 0
    while True:
        trial = oracle.create_trial("tuner0")
        if trial.status == TrialStatus.STOPPED:
            return ran
        for step, value in enumerate(curves[int(trial.trial_id)]):
            if reports == until:
                oracle.release("tuner0")
                return ran
            reports += 1
            metrics = {oracle.objective.name: value, PLANNED: EPOCHS}
            told = oracle.update_trial(trial.trial_id, metrics, step=step)
            assert oracle.get_trial(trial.trial_id).status == TrialStatus.RUNNING
            ran[trial.trial_id] = step + 1
            if told.status == TrialStatus.STOPPED:
                trial.status = TrialStatus.FAILED
                break
        else:
            trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)


@pytest.mark.parametrize("name", RULES)
def test_much_is_saved_and_the_best_trial_completes(name, tmp_path):
    curves = learning_curves()
    oracle = make(tmp_path / "max", RULES[name])
    ran = drive(oracle, curves)
    assert len(ran) == 30
    cost = sum(ran.values()) / curves.size
    assert cost < {"median": 0.65, "halving": 0.3}[name]
    best = str(np.argmax(curves[:, -1])).zfill(2)
    assert ran[best] == EPOCHS
    assert oracle.get_best_trials()[0].trial_id == best
    for trial_id, trial in oracle.trials.items():
        full = ran[trial_id] == EPOCHS
        assert outcome_of(trial) == (TrialStatus.COMPLETED if full else PRUNED)

    # What is to be minimized goes the same way.
    mirror = make(tmp_path / "min", RULES[name], "val_loss", num_trials=12)
    assert drive(mirror, -curves).items() <= ran.items()
    off = make(tmp_path / "off", None, num_trials=3)
    assert set(drive(off, curves).values()) == {EPOCHS}


@pytest.mark.parametrize("name", RULES)
def test_no_trial_of_the_best_tenth_is_stopped_by_noise(name, tmp_path):
    curves = learning_curves(noise=0.002)
    ran = drive(make(tmp_path, RULES[name]), curves)
    best = np.argmax(curves[:, -1])
    assert ran[f"{best:02}"] == EPOCHS
    if name == "median":
        tenth = np.argsort(curves[:, -1])[-3:]
        assert all(ran[f"{i:02}"] == EPOCHS for i in tenth)


@pytest.mark.parametrize("name", RULES)
def test_restart_changes_no_decision(name, tmp_path):
    curves = learning_curves(noise=0.05)[:16]
    whole = drive(make(tmp_path / "whole", RULES[name], num_trials=16), curves)
    rng = np.random.default_rng(1)
    ran, restarts = {}, 0
    while len(ran) < 16 or restarts < 8:
        oracle = make(tmp_path / "parts", RULES[name], num_trials=16)
        until = int(rng.integers(1, 60)) if restarts < 8 else math.inf
        ran.update(drive(oracle, curves, until))
        restarts += 1
    assert ran == whole
    for trial in oracle.trials.values():
        steps = [o.step for o in trial.metrics.get_history("val_accuracy")]
        assert steps == list(range(whole[trial.trial_id]))
        values = trial.metrics.get_history("val_accuracy")
        assert all(len(o.value) == 1 for o in values)


@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")  # KerasTuner's own
def test_diverged_trials_are_worse_than_all(tmp_path):
    curves = learning_curves()[:12]
    curves[8] = np.nan
    curves[9, 3:] = np.nan
    ran = drive(make(tmp_path, MedianStopping(), num_trials=12), curves)
    assert ran["08"] == 1
    with_nan = [Curve({1: -math.inf}, True)] * 2 + [Curve({1: 0.5}, True)] * 3
    assert MedianStopping().stops(Curve({1: 0.4}), with_nan)
    assert not MedianStopping().stops(Curve({1: 0.6}), with_nan)
    loss = make(tmp_path / "min", SuccessiveHalving(2), "val_loss", 12)
    ran = drive(loss, 1 - curves)
    assert ran["08"] == 1


def report(oracle, value, planned=EPOCHS, step=0, end=True, **metrics):
    trial = oracle.create_trial("tuner0")
    metrics = {"val_accuracy": value, PLANNED: planned, **metrics}
    told = copy.copy(oracle.update_trial(trial.trial_id, metrics, step=step))
    if end:
        trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
    return told


def test_only_trials_of_the_same_length_are_compared(tmp_path):
    oracle = make(tmp_path, MedianStopping(warmup_trials=2))
    for value in (0.8, 0.9):
        report(oracle, value)
    assert report(oracle, 0.1, planned=3).status == TrialStatus.RUNNING
    assert report(oracle, 0.1, end=False).status == TrialStatus.STOPPED


def test_a_trial_is_not_stopped_after_its_last_epoch(tmp_path):
    oracle = make(tmp_path, MedianStopping(warmup_trials=1))
    report(oracle, 0.8, planned=1)
    told = report(oracle, 0.1, planned=1)
    assert told.status == TrialStatus.RUNNING
    assert outcome_of(oracle.get_trial(told.trial_id)) == TrialStatus.COMPLETED


def test_who_goes_on_regardless_is_told_again(tmp_path):
    oracle = make(tmp_path, MedianStopping(warmup_trials=1))
    report(oracle, 0.8)
    first = report(oracle, 0.1, end=False)
    metrics = {"val_accuracy": 0.99, PLANNED: EPOCHS}
    again = oracle.update_trial(first.trial_id, metrics, step=1)
    assert first.status == again.status == TrialStatus.STOPPED
    assert oracle.get_trial(first.trial_id).status == TrialStatus.RUNNING


def test_the_answer_crosses_the_wire(tmp_path):
    oracle = make(tmp_path, MedianStopping(warmup_trials=1))
    report(oracle, 0.8)
    told = Trial.from_proto(report(oracle, 0.1, end=False).to_proto())
    assert told.status == TrialStatus.STOPPED
    assert outcome_of(told) == PRUNED


def test_small_models_are_not_stopped_for_large_ones(tmp_path):
    oracle = make(tmp_path, MedianStopping(warmup_trials=2))
    oracle.objective = kt.oracles.RandomSearchOracle(
        [kt.Objective("val_accuracy", "max"), kt.Objective("bytes", "min")]
    ).objective

    def outcome(value, size):
        metrics = {"bytes": size, "multi_objective": size - value}
        return report(oracle, value, **metrics).status

    for value, size in [(0.9, 500), (0.8, 400), (0.7, 300)]:
        assert outcome(value, size) == TrialStatus.RUNNING
    assert outcome(0.1, 100) == TrialStatus.RUNNING
    assert outcome(0.1, 350) == TrialStatus.STOPPED  # two are as small: .7 and .1
    assert outcome(0.5, 350) == TrialStatus.RUNNING
    assert outcome(0.6, 600) == TrialStatus.RUNNING  # above the median of all
    assert outcome(0.05, 600) == TrialStatus.STOPPED


class Search(kt.Tuner):
    """What a tuner does for pruning."""

    def run_trial(self, trial, *args, **kwargs):
        self.hypermodel.report = ReportEpochs(
            self.oracle, trial.trial_id, {"exported_bytes": 70.0}
        )
        return super().run_trial(trial, *args, **kwargs)

    def search(self, *args, **kwargs):
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "The use case of calling", DeprecationWarning
            )
            super().search(*args, **kwargs)


class Rates(kt.HyperModel):
    """Models that learn in all trials but the third."""

    def __init__(self):
        super().__init__()
        self.pruned_after = []

    def build(self, hp):
        rate = 0.0 if hp.Int("i", 0, 3) == 2 else 0.5
        zeros = keras.layers.Dense(1, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input((4,)), zeros])
        optimizer = keras.optimizers.SGD(rate)
        model.compile(optimizer, "mse", metrics=["mae"], run_eagerly=True)
        return model

    def fit(self, hp, model, *args, callbacks=(), **kwargs):
        callbacks = [*callbacks, self.report]
        history = model.fit(*args, callbacks=callbacks, **kwargs)
        self.pruned_after.append(self.report.pruned_after)
        return history


def test_real_training_is_stopped(tmp_path):
    hypermodel = Rates()
    oracle = Listed(kt.Objective("val_loss", "min"), max_trials=4)
    oracle.pruning = MedianStopping(warmup_trials=2, warmup_epochs=2)
    tuner = Search(oracle, hypermodel, directory=tmp_path)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "The use case of", DeprecationWarning)
        tuner.search(**DATA, epochs=4, verbose=0)
    assert hypermodel.pruned_after == [None, None, 2, None]
    for trial in tuner.oracle.trials.values():
        pruned = trial.trial_id == "2"
        history = trial.metrics.get_history("val_loss")
        assert len(history) == (2 if pruned else 4)
        assert (outcome_of(trial) == PRUNED) == pruned
        assert trial.metrics.get_best_value("exported_bytes") == 70
        assert trial.metrics.exists("val_mae")
        assert trial.score == min(observation.value[0] for observation in history)
    assert tuner.get_best_models()[0].evaluate(X, Y, verbose=0)[0] == pytest.approx(
        min(trial.score for trial in tuner.oracle.trials.values())
    )


class Chief:
    """Takes reports and lets all trials go on."""

    def __init__(self, *objectives):
        objectives = [kt.Objective(name, "min") for name in objectives]
        oracle = kt.Oracle(objectives if len(objectives) > 1 else objectives[0])
        self.objective = oracle.objective
        self.reports = []

    def update_trial(self, trial_id, metrics, step):
        self.reports.append((step, metrics))
        return Trial(None, trial_id)


def fit(report, **kwargs):
    model = Rates().build(kt.HyperParameters())
    model.fit(**DATA, epochs=4, verbose=0, callbacks=[report], **kwargs)
    return report


def test_epochs_without_the_objective_are_not_reported():
    chief = Chief("val_loss", "bytes")
    report = fit(ReportEpochs(chief, "7", {"bytes": 9}), validation_freq=2)
    assert report.pruned_after is None
    assert [step for step, _ in chief.reports] == [1, 3]
    for _, metrics in chief.reports:
        assert metrics["multi_objective"] == 9 + metrics["val_loss"]
        assert metrics[PLANNED] == 4
        assert set(metrics) >= {"loss", "mae", "val_mae"}


@pytest.mark.parametrize("names", [("ram",), ("bytes", "val_loss"), ("loss", "ram")])
def test_objective_that_no_epoch_has_is_refused(names):
    chief = Chief(*names)
    message = rf"(?s)objectives \[{', '.join(map(repr, names))}\], and epochs with"
    with pytest.raises(kt.errors.FatalValueError, match=message):
        fit(ReportEpochs(chief, "7", {"bytes": 9}))
    assert chief.reports == []
