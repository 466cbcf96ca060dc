"""KerasTuner's hyperparameters as Optuna's distributions."""

from collections.abc import Mapping
from typing import Any

import keras_tuner as kt
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from keras_share.search.engine import Fixed, Float, HyperParameter, Int


def distribution(parameter: HyperParameter) -> BaseDistribution:
    """What a hyperparameter is drawn from.

    Example:
    >>> hp = kt.HyperParameters()
    >>> _ = hp.Int("units", 16, 70, step=16)
    >>> distribution(hp.space[0])
    IntDistribution(high=64, log=False, low=16, step=16)
    """
    if not isinstance(parameter, Int | Float):
        return CategoricalDistribution(list(parameter.values))
    low, high = parameter.min_value, parameter.max_value
    is_log = parameter.sampling == "log"
    if isinstance(parameter, Float):
        return FloatDistribution(low, high, log=is_log)
    if is_log or parameter.sampling == "reverse_log":
        # Steps are factors then, which Optuna has none of.
        return IntDistribution(low, high, log=is_log)
    step = parameter.step or 1
    return IntDistribution(low, low + (high - low) // step * step, step=step)


def distributions(
    space: kt.HyperParameters, values: Mapping[str, Any]
) -> dict[str, BaseDistribution]:
    """The distributions of those values of a trial that were chosen, by name."""
    return {
        parameter.name: distribution(parameter)
        for parameter in space.space
        if parameter.name in values
        and not isinstance(parameter, Fixed)
        and all(one.is_active(values) for one in parameter.conditions)
    }
