"""Epochs reported to the oracle, which stops a trial that is hopeless."""

import copy
import math
import statistics
from collections.abc import Mapping
from typing import Any

import keras
import keras_tuner as kt

from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.trial.objectives import of_oracle
from keras_share.search.trial.outcomes import PLANNED, PRUNED, mark, outcome_of
from keras_share.search.trial.pruning import Curve, PruningRule


class Pruned(kt.Oracle):
    """Mixin for a `keras_tuner.Oracle`: tells hopeless trials to stop.

    Put it before the oracle and set `pruning`. A report of an epoch by `ReportEpochs`
    is then answered by a trial of the status `"STOPPED"` if the rule says so, and the
    trial is marked as pruned (`outcomes.outcome_of`). Decisions follow from the
    histories of metrics, which are saved with every report, so that a search that was
    interrupted goes on with the same ones, if trials that are run again begin with no
    metrics, as `Durable` sees to.

    Trials are compared only with those that are to train for as many epochs. Of
    several objectives the first is judged, among the trials that are no worse in the
    others: a small model is not stopped because larger ones are more accurate.

    Attributes:
        pruning: The `PruningRule`, or None to stop no trial.
    """

    pruning: PruningRule | None = None

    @kt.synchronized
    def update_trial(
        self, trial_id: str, metrics: Mapping[str, float], step: int = 0
    ) -> Trial:
        """Records the metrics of a trial; says whether it is to stop."""
        metrics = dict(metrics)
        if self.pruning is None or PLANNED not in metrics:
            return super().update_trial(trial_id, metrics, step=step)
        stored = self.trials[trial_id]
        pruned = outcome_of(stored) == PRUNED
        if not pruned and step + 1 < metrics[PLANNED]:
            draft = copy.copy(stored)
            draft.metrics = copy.deepcopy(stored.metrics)
            for name, value in metrics.items():
                draft.metrics.update(name, value, step=step)
            pruned = self.pruning.stops(self._curve(draft), self._rivals(draft))
        if pruned:
            metrics.update(mark(PRUNED))
        trial = super().update_trial(trial_id, metrics, step=step)
        if pruned:
            # The stored one goes on until it ends.
            trial = copy.copy(trial)
            trial.status = TrialStatus.STOPPED
        return trial

    def _curve(self, trial: Trial) -> Curve:
        judged = of_oracle(self)[0]
        sign = 1 if judged.direction == "max" else -1
        history = (
            trial.metrics.get_history(judged.name)
            if trial.metrics.exists(judged.name)
            else ()
        )
        return Curve(
            {
                observation.step + 1: _worst_if_nan(
                    sign * statistics.fmean(observation.value)
                )
                for observation in history
            },
            ended=outcome_of(trial) in (TrialStatus.COMPLETED, PRUNED),
        )

    def _rivals(self, trial: Trial) -> list[Curve]:
        return [
            self._curve(other)
            for other in self.trials.values()
            if other.trial_id != trial.trial_id
            and _last(other, PLANNED) == _last(trial, PLANNED)
            and all(
                _no_worse(one, _last(other, one.name), _last(trial, one.name))
                for one in of_oracle(self)[1:]
            )
        ]


class ReportEpochs(keras.callbacks.Callback):
    """Reports each epoch of a trial to the oracle, and stops training if told to.

    KerasTuner takes no result of a trial that reported epochs, so all that the oracle
    is to know must be among the metrics of an epoch or in `extra`.

    Args:
        oracle: The oracle, in a worker KerasTuner's client for it.
        trial_id: Of the trial.
        extra: What to report with every epoch beside the metrics: measures of the
            model that don't change in training.

    Attributes:
        pruned_after: After how many epochs the trial was stopped; None if it wasn't.
    """

    def __init__(
        self, oracle: Any, trial_id: str, extra: Mapping[str, float] | None = None
    ):
        super().__init__()
        self.pruned_after: int | None = None
        self._oracle = oracle
        self._trial_id = trial_id
        self._extra = {} if extra is None else extra
        self._reported = False

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Reports an epoch in which the objective was computed."""
        objective = self._oracle.objective
        logs = {name: float(value) for name, value in (logs or {}).items()}
        metrics = {**logs, **self._extra, PLANNED: float(self.params["epochs"])}
        judged = of_oracle(self._oracle)[0]
        if not (judged.name in logs and objective.has_value(metrics)):
            return
        self._reported = True
        # The sum of several objectives, which KerasTuner computes of results only.
        metrics.setdefault(objective.name, objective.get_value(metrics))
        trial = self._oracle.update_trial(self._trial_id, metrics, step=epoch)
        if trial.status == TrialStatus.STOPPED:
            self.pruned_after = epoch + 1
            self.model.stop_training = True

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Complains if no epoch had the objective."""
        if not self._reported:
            names = [one.name for one in of_oracle(self._oracle)]
            raise kt.errors.FatalValueError(
                "With `pruning` the objective, of several the first, must be a metric "
                "of the epochs of `fit`, and the others too or measures known before "
                f"training. Received: objectives {names}, and epochs with "
                f"{sorted(logs or {})} beside {sorted(self._extra)}. Compute it in "
                "`fit` (validation_data, metrics), or leave out `pruning`."
            )


def _no_worse(objective: kt.Objective, a: float | None, b: float | None) -> bool:
    # What was not measured is not compared.
    return a is not None and b is not None and not objective.better_than(b, a)


def _last(trial: Trial, metric: str) -> float | None:
    return (
        trial.metrics.get_last_value(metric) if trial.metrics.exists(metric) else None
    )


def _worst_if_nan(value: float) -> float:
    return -math.inf if math.isnan(value) else value
