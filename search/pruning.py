"""Pruning: a trial that is hopeless after few epochs is stopped."""

import copy
import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner as kt
from keras_tuner.engine.trial import Trial, TrialStatus

from .outcomes import PRUNED, mark, outcome_of

# The metric that says for how many epochs a trial was to train.
PLANNED = "planned_epochs"


@dataclass(frozen=True)
class Curve:
    """How the objective of a trial went.

    Attributes:
        values: The objective by the number of epochs trained, with the sign that makes
            greater better; minus infinity for NaN.
        ended: Whether the trial is over: it completed, or it was pruned.
    """

    values: Mapping[int, float]
    ended: bool = False

    def best(self, epochs: int) -> float:
        """The best value of the first `epochs` epochs."""
        return max(v for epoch, v in self.values.items() if epoch <= epochs)

    def mean(self, epochs: int) -> float:
        """The mean over the first `epochs` epochs."""
        return statistics.fmean(v for e, v in self.values.items() if e <= epochs)


class PruningRule(ABC):
    """When to stop a trial. A subclass may be passed as `pruning=` to a tuner."""

    @abstractmethod
    def stops(self, curve: Curve, others: Sequence[Curve]) -> bool:
        """Whether to stop a trial after its last epoch so far.

        Args:
            curve: Of the trial.
            others: Of those trials, ended and running, that are to train for as many
                epochs.
        """


@dataclass(frozen=True)
class MedianStopping(PruningRule):
    """Stops a trial whose best value is worse than what others had on average.

    The trial is stopped if its best objective so far is worse than the median of the
    running averages of the trials that ended, each up to the same epoch: the median
    stopping rule of Vizier (Golovin et al., 2017,
    https://doi.org/10.1145/3097983.3098043).

    Args:
        warmup_trials: Number of other trials that must have ended after at least as
            many epochs.
        warmup_epochs: Number of epochs after which a trial can be stopped at the
            earliest.

    Example:
    >>> rule = MedianStopping(warmup_trials=1)
    >>> rule.stops(Curve({1: 0.3}), [Curve({1: 0.5, 2: 0.9}, ended=True)])
    True
    """

    warmup_trials: int = 5
    warmup_epochs: int = 1

    def __post_init__(self):
        _check_integer("warmup_trials", self.warmup_trials, 1)
        _check_integer("warmup_epochs", self.warmup_epochs, 1)

    def stops(self, curve: Curve, others: Sequence[Curve]) -> bool:
        epochs = max(curve.values)
        ended = [c.mean(epochs) for c in others if c.ended and epochs in c.values]
        if epochs < self.warmup_epochs or len(ended) < self.warmup_trials:
            return False
        return curve.best(epochs) < statistics.median(ended)


@dataclass(frozen=True)
class SuccessiveHalving(PruningRule):
    """At rungs of more and more epochs, lets the best go on.

    After `min_epochs`, `factor * min_epochs`, `factor**2 * min_epochs`, ... epochs a
    trial goes on only if its best value so far is among the best `1 / factor` of the
    trials that came so far, whenever they did; nobody waits for others, and with less
    than `factor` of them it goes on. The asynchronous successive halving of Li et al.
    (2018, arXiv 1810.05934), in the form that stops trials and never resumes one.

    Args:
        factor: One of so many trials goes on.
        min_epochs: Epochs before the first rung.

    Example:
    >>> rule = SuccessiveHalving(factor=2)
    >>> rule.stops(Curve({1: 0.3}), [Curve({1: 0.5})])
    True
    """

    factor: int = 3
    min_epochs: int = 1

    def __post_init__(self):
        _check_integer("factor", self.factor, 2)
        _check_integer("min_epochs", self.min_epochs, 1)

    def stops(self, curve: Curve, others: Sequence[Curve]) -> bool:
        epochs = max(curve.values)
        if not self._is_rung(epochs):
            return False
        rivals = [other.best(epochs) for other in others if epochs in other.values]
        places = (len(rivals) + 1) // self.factor
        better = sum(value > curve.best(epochs) for value in rivals)
        return places > 0 and better >= places

    def _is_rung(self, epochs: int) -> bool:
        rung = self.min_epochs
        while rung < epochs:
            rung *= self.factor
        return rung == epochs


def get(pruning: Any, executions_per_trial: int = 1) -> PruningRule | None:
    """Reads the argument `pruning=` of a tuner.

    Args:
        pruning: None, `"median"`, `"halving"`, or a `PruningRule`.
        executions_per_trial: That of the tuner.

    Raises:
        ValueError: If `pruning` is none of these, or a trial is executed several
            times.
    """
    if pruning is None:
        return None
    if pruning == "median":
        rule = MedianStopping()
    elif pruning == "halving":
        rule = SuccessiveHalving()
    elif isinstance(pruning, PruningRule):
        rule = pruning
    else:
        raise ValueError(
            "`pruning` must be 'median', 'halving', a PruningRule such as "
            "MedianStopping(warmup_trials=10), or None to stop no trial. "
            f"Received: pruning={pruning!r}"
        )
    if executions_per_trial != 1:
        raise ValueError(
            "`pruning` compares trials of one execution; the average over several is "
            "known only when the last one trains. Leave out `pruning`, or set "
            f"executions_per_trial=1. Received: pruning={pruning!r} with "
            f"executions_per_trial={executions_per_trial}"
        )
    return rule


class Pruned:
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
        judged = _objectives(self)[0]
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
                for one in _objectives(self)[1:]
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
        judged = _objectives(self._oracle)[0]
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
            names = [one.name for one in _objectives(self._oracle)]
            raise kt.errors.FatalValueError(
                "With `pruning` the objective, of several the first, must be a metric "
                "of the epochs of `fit`, and the others too or measures known before "
                f"training. Received: objectives {names}, and epochs with "
                f"{sorted(logs or {})} beside {sorted(self._extra)}. Compute it in "
                "`fit` (validation_data, metrics), or leave out `pruning`."
            )


def _objectives(oracle: Any) -> Sequence[kt.Objective]:
    """Of our oracles, of KerasTuner's that add several up, or the one."""
    for holder in (oracle, oracle.objective):
        if hasattr(holder, "objectives"):
            return holder.objectives
    return [oracle.objective]


def _no_worse(objective: kt.Objective, a: float | None, b: float | None) -> bool:
    # What was not measured is not compared.
    return a is not None and b is not None and not objective.better_than(b, a)


def _last(trial: Trial, metric: str) -> float | None:
    return (
        trial.metrics.get_last_value(metric) if trial.metrics.exists(metric) else None
    )


def _worst_if_nan(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _check_integer(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(
            f"`{name}` must be an integer of at least {least}. "
            f"Received: {name}={value!r}"
        )
