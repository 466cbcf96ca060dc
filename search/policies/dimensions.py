"""The dimensions of a search: how each kind of hyperparameter is drawn and compared."""

import math
import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from keras_tuner.engine import hyperparameters as kt_hyperparameters
from keras_tuner.engine.hyperparameters import HyperParameter

from keras_share.pattern import SharingPattern
from keras_share.search.pattern_space import SUFFIX, PatternSpace

# A neighbor's number lies about this far from its own, in units of the range.
_STEP = 0.15


class Dimension:
    """One hyperparameter of KerasTuner; base of those that need more.

    Args:
        parameter: The hyperparameter.
    """

    def __init__(self, parameter: HyperParameter):
        self.parameter = parameter
        self.name = parameter.name
        self.conditions = parameter.conditions

    @property
    def choices(self) -> Iterable[Any]:
        """All values, if `count` is finite."""
        return list(self.parameter.values)

    @property
    def count(self) -> float:
        """How many values there are."""
        return len(self.choices)

    def draw(self, rng: random.Random) -> Any:
        """A random value."""
        return self.parameter.prob_to_value(rng.random())

    def move(self, value: Any, rng: random.Random) -> Any:
        """Another value, near to `value` where that has a meaning."""
        return rng.choice([other for other in self.choices if other != value])

    @property
    def width(self) -> int:
        """How many features a value has."""
        return len(self.choices)

    def features(self, value: Any) -> Sequence[float]:
        """A value as numbers, near to each other for values that are alike."""
        return [math.sqrt(0.5) * (value == other) for other in self.choices]


class Constant(Dimension):
    """A hyperparameter of fixed value."""

    width = 0

    def features(self, value: Any) -> Sequence[float]:
        return []


class Number(Dimension):
    """A hyperparameter with an order: its place in the range is its feature."""

    width = 1

    @property
    def count(self) -> float:
        # Without a step KerasTuner lists ten values of a range, and draws others.
        has_step = getattr(self.parameter, "step", 1) is not None
        return super().count if has_step else math.inf

    def move(self, value: Any, rng: random.Random) -> Any:
        place = self.parameter.value_to_prob(value) + rng.gauss(0, _STEP)
        # KerasTuner's draws are below 1, too.
        moved = self.parameter.prob_to_value(min(max(place, 0.0), 1 - 1e-9))
        while moved == value:
            moved = self.draw(rng)
        return moved

    def features(self, value: Any) -> Sequence[float]:
        return [self.parameter.value_to_prob(value)]


class Pattern(Dimension):
    """A pattern: which pairs of sites share is what makes two of them alike.

    The features are one indicator per pair of sites, the number of groups, and the
    number of sites that share with none: normalization folds into a kernel that is
    used once, so that the size of a file depends on it.
    """

    def __init__(self, parameter: HyperParameter):
        super().__init__(parameter)
        self.name = parameter.name.removesuffix(SUFFIX)
        self.space = PatternSpace.parse(parameter.value)
        self._pairs = np.triu_indices(self.space.num_sites, k=1)

    @property
    def choices(self) -> Iterable[SharingPattern]:
        return map(self.space.pattern, range(self.space.count))

    @property
    def count(self) -> float:
        return self.space.count

    def draw(self, rng: random.Random) -> SharingPattern:
        return self.space.sample(rng)

    def move(self, value: SharingPattern, rng: random.Random) -> SharingPattern:
        return self.space.neighbor(value, rng)

    @property
    def width(self) -> int:
        return len(self._pairs[0]) + 2 if self.count > 1 else 0

    def features(self, value: SharingPattern) -> Sequence[float]:
        if self.count == 1:
            return []
        labels, sites = np.array(value.labels), value.num_sites
        first, second = self._pairs
        together = (labels[first] == labels[second]) / math.sqrt(len(first))
        alone = np.count_nonzero(np.bincount(labels) == 1)
        return np.concatenate([together, [value.num_groups / sites, alone / sites]])


def dimension(parameter: HyperParameter) -> Dimension:
    """What a hyperparameter is in a search."""
    if parameter.name.endswith(SUFFIX):
        return Pattern(parameter)
    if isinstance(parameter, kt_hyperparameters.Fixed):
        return Constant(parameter)
    numeric = (kt_hyperparameters.Int, kt_hyperparameters.Float)
    if isinstance(parameter, numeric):
        is_constant = parameter.min_value == parameter.max_value
        return Constant(parameter) if is_constant else Number(parameter)
    if len(parameter.values) == 1:
        return Constant(parameter)
    if getattr(parameter, "ordered", False):
        return Number(parameter)
    return Dimension(parameter)
