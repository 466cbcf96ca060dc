"""Pruning: a trial that is hopeless after few epochs is stopped.

The rules are pruners of Optuna's that know several objectives, too.
"""

import math
import statistics
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from keras_share.search.trial.objectives import objectives_of

PLANNED = "planned_epochs"  # the attribute that says for how long a trial is to train


@dataclass(frozen=True)
class Curve:
    """How the first objective of a trial went, by the number of epochs trained.

    Of a sign that makes greater better; minus infinity for NaN.
    """

    values: Mapping[int, float]
    ended: bool = False

    def best(self, epochs: int) -> float:
        """The best value of the first `epochs` epochs."""
        return max(v for epoch, v in self.values.items() if epoch <= epochs)

    def mean(self, epochs: int) -> float:
        """The mean over the first `epochs` epochs."""
        return statistics.fmean(v for e, v in self.values.items() if e <= epochs)


class PruningRule(BasePruner):
    """A pruner of Optuna for one objective or several, by what `stops` says.

    A trial is compared with those that are to train for as many epochs. Of several
    objectives the first is judged, among the trials that are no worse in the others: a
    small model is not stopped because larger ones are more accurate.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether to stop a trial, as `Study` asks it."""
        return self.stops(*_curves(study, trial))

    @abstractmethod
    def stops(self, curve: Curve, others: Sequence[Curve]) -> bool:
        """Whether to stop a trial after its last epoch so far.

        The others are those, ended and running, that are to train for as many epochs.
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


def get(
    pruning: Any, objectives: Collection[str], executions_per_trial: int = 1
) -> BasePruner | None:
    """Reads the argument `pruning=` of a tuner.

    Raises:
        ValueError: If it is nothing that judges trials of such objectives.
    """
    if pruning is None:
        return None
    named = {"median": MedianStopping, "halving": SuccessiveHalving}
    rule = named[pruning]() if pruning in ("median", "halving") else pruning
    if not isinstance(rule, BasePruner):
        raise ValueError(
            "`pruning` must be 'median', 'halving', a PruningRule such as "
            "MedianStopping(warmup_trials=10), a pruner of optuna.pruners, or None to "
            f"stop no trial. Received: pruning={pruning!r}"
        )
    if not isinstance(rule, PruningRule) and len(objectives) > 1:
        raise ValueError(
            "A pruner of Optuna's judges one objective. Received: pruning="
            f"{type(rule).__name__} for {[*objectives]}. 'median' "
            "and 'halving' judge a trial among those that are no worse in the others."
        )
    if executions_per_trial != 1:
        raise ValueError(
            "`pruning` compares trials of one execution; the average over several is "
            "known only when the last one trains. Leave out `pruning`, or set "
            f"executions_per_trial=1. Received: pruning={pruning!r} with "
            f"executions_per_trial={executions_per_trial}"
        )
    return rule


def _curves(study: optuna.Study, own: FrozenTrial) -> tuple[Curve, list[Curve]]:
    """How a trial went, and those it is compared with."""
    main, *others = objectives_of(study).items()
    epochs = own.user_attrs.get(PLANNED)
    rivals = [
        one
        for one in study.get_trials(deepcopy=False)
        if one.number != own.number
        and one.state != TrialState.FAIL
        and one.user_attrs.get(PLANNED) == epochs
        and all(_no_worse(*other, one, own) for other in others)
    ]
    return _curve(own, main[1]), [_curve(one, main[1]) for one in rivals]


def _curve(trial: FrozenTrial, direction: str) -> Curve:
    sign = 1 if direction == "max" else -1
    return Curve(
        {
            epoch + 1: -math.inf if math.isnan(value) else sign * value
            for epoch, value in trial.intermediate_values.items()
        },
        ended=trial.state in (TrialState.COMPLETE, TrialState.PRUNED),
    )


def _no_worse(name: str, direction: str, a: FrozenTrial, b: FrozenTrial) -> bool:
    # What was not measured is not compared.
    first, second = (one.user_attrs.get(name) for one in (a, b))
    if first is None or second is None:
        return False
    return first >= second if direction == "max" else first <= second


def _check_integer(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(
            f"`{name}` must be an integer of at least {least}. "
            f"Received: {name}={value!r}"
        )
