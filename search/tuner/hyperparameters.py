"""KerasTuner's hyperparameters and trials, and Optuna's distributions."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner as kt
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from keras_share.search.engine import (
    Fixed,
    Float,
    HyperParameter,
    Int,
    Trial,
    TrialStatus,
)
from keras_share.search.policies import ValueSpace
from keras_share.search.project.record import record_of
from keras_share.search.space.pattern_space import SUFFIX, pattern_spaces
from keras_share.search.trial.objectives import direction


def distribution(parameter: HyperParameter) -> BaseDistribution:
    """What Optuna calls a hyperparameter of KerasTuner.

    Steps on a logarithmic scale are a choice of their values. `"reverse_log"` without
    steps becomes linear: Optuna does not have it.

    Example:
    >>> import keras_tuner as kt
    >>> hp = kt.HyperParameters()
    >>> _ = hp.Int("units", 8, 60, step=8), hp.Int("rank", 1, 8, 2, sampling="log")
    >>> distribution(hp.space[0])
    IntDistribution(high=56, log=False, low=8, step=8)
    >>> distribution(hp.space[1])
    CategoricalDistribution(choices=(1, 2, 4, 8))
    """
    is_number = isinstance(parameter, (Int, Float))
    if not is_number or (parameter.step and parameter.sampling != "linear"):
        # KerasTuner lists integers as floats there.
        kind = int if isinstance(parameter, Int) else lambda value: value
        return CategoricalDistribution([kind(value) for value in parameter.values])
    low, high, step = parameter.min_value, parameter.max_value, parameter.step
    is_log = parameter.sampling == "log"
    if step is not None:
        # KerasTuner's range may end between two steps.
        high = low + int((high - low) / step + 1e-9) * step
    if isinstance(parameter, Int):
        return IntDistribution(low, high, log=is_log, step=step or 1)
    return FloatDistribution(low, high, log=is_log, step=step)


def distributions(
    parameters: Sequence[HyperParameter], values: Mapping[str, Any]
) -> dict[str, BaseDistribution]:
    """The distributions of the parameters that a trial of these values has."""
    return {
        p.name: distribution(p)
        for p in parameters
        if p.name in values
        and not p.name.endswith(SUFFIX)
        and all(condition.is_active(values) for condition in p.conditions)
    }


def value_space(parameters: Sequence[HyperParameter]) -> ValueSpace:
    """What a policy chooses from; parents stand before children."""
    declared = {p.name: p.default for p in parameters if p.name.endswith(SUFFIX)}
    own = [p for p in parameters if p.name not in declared]
    return ValueSpace(
        {p.name: distribution(p) for p in own},
        pattern_spaces(declared),
        {p.name: p.conditions for p in own},
    )


def with_values(
    space: kt.HyperParameters, values: Mapping[str, Any]
) -> kt.HyperParameters:
    """A copy of hyperparameters that has these values, and those that are fixed.

    What else it lacks a trial came to be without, or takes its default of.
    """
    found = space.copy()
    found.values = dict(values)
    for p in found.space:
        active = all(condition.is_active(found.values) for condition in p.conditions)
        if isinstance(p, Fixed) and active:
            found.values.setdefault(p.name, p.default)
    return found


def shown(
    frozen: FrozenTrial, space: kt.HyperParameters, objectives: Mapping[str, str]
) -> Trial:
    """A trial of a study as KerasTuner sees it."""
    hp = with_values(space, frozen.params)
    trial = Trial(hp, str(frozen.number), TrialStatus.RUNNING)
    if not frozen.state.is_finished():
        return trial
    record = record_of(frozen, objectives)
    completed = record.status == "COMPLETED"
    trial.status = TrialStatus.COMPLETED if completed else TrialStatus.FAILED
    trial.score, trial.message, trial.best_step = record.score, record.message, 0
    return with_metrics(trial, record.numbers, objectives)


def with_metrics(
    trial: Trial,
    numbers: Mapping[str, float],
    objectives: Mapping[str, str],
    step: int = 0,
) -> Trial:
    """A trial, to which metrics were added that are new or of a further execution."""
    for name, value in numbers.items():
        if not trial.metrics.exists(name):
            trial.metrics.register(name, direction(name, objectives))
        trial.metrics.update(name, value, step=step)
    return trial
