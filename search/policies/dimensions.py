"""The dimensions of a search: how each kind of hyperparameter is drawn and compared."""

import math
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.engine import Choice, Fixed, Float, HyperParameter, Int
from keras_share.search.space.pattern_space import SUFFIX, PatternSpace

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
        return len([*self.choices])

    def draw(self, rng: random.Random) -> Any:
        """A random value."""
        return self.parameter.prob_to_value(rng.random())

    def move(self, value: Any, rng: random.Random) -> Any:
        """Another value, near to `value` where that has a meaning."""
        return rng.choice([other for other in self.choices if other != value])

    def nearest(self, value: Any) -> Any:
        """What a value, maybe of an earlier search, stands for here; None for nothing.

        Always one of the values of this dimension, of their type.
        """
        return next((own for own in self.choices if own == value), None)

    def compares(self, value: Any) -> bool:
        """Whether a value, maybe of an earlier search, has features here."""
        return True

    @property
    def width(self) -> int:
        """How many features a value has."""
        return len([*self.choices])

    def features(self, value: Any) -> ArrayLike:
        """A value as numbers, near to each other for values that are alike."""
        return [math.sqrt(0.5) * (value == other) for other in self.choices]

    @property
    def size_width(self) -> int:
        """How many of the features, the last ones, the size of a model depends on."""
        return self.width


class Constant(Dimension):
    """A hyperparameter of fixed value."""

    width = 0

    def features(self, value: Any) -> ArrayLike:
        return []


class Number(Dimension):
    """A hyperparameter with an order: its place in the range is its feature."""

    width = 1

    @property
    def count(self) -> float:
        parameter = self.parameter
        if isinstance(parameter, Choice):
            return super().count
        if parameter.step is None:
            return math.inf  # KerasTuner lists ten of them, and draws others
        if parameter.sampling != "linear":
            return super().count
        # Not counted one by one, as there may be more than memory holds.
        return (parameter.max_value - parameter.min_value) // parameter.step + 1

    def move(self, value: Any, rng: random.Random) -> Any:
        place = self.parameter.value_to_prob(value) + rng.gauss(0, _STEP)
        # KerasTuner's draws are below 1, too.
        moved = self.parameter.prob_to_value(min(max(place, 0.0), 1 - 1e-9))
        while moved == value:
            moved = self.draw(rng)
        return moved

    def nearest(self, value: Any) -> Any:
        if not self.compares(value):
            return None
        parameter = self.parameter
        if isinstance(parameter, Choice):
            return super().nearest(value)
        if parameter.step is None:
            return int(value) if isinstance(parameter, Int) else float(value)
        # By KerasTuner's own rule; with logarithms it may place a value of the grid
        # in the step below.
        place = parameter.value_to_prob(value)
        steps = [place + shift / self.count for shift in (0, 1)]
        near = [parameter.prob_to_value(min(max(p, 0.0), 1 - 1e-9)) for p in steps]
        return min(near, key=lambda own: abs(own - value))

    def compares(self, value: Any) -> bool:
        if isinstance(self.parameter, Choice):
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return self.parameter.min_value <= value <= self.parameter.max_value

    def features(self, value: Any) -> ArrayLike:
        return [self.parameter.value_to_prob(value)]


class Pattern(Dimension):
    """A pattern: which pairs of sites share is what makes two of them alike.

    The features are one indicator per pair of sites, the number of groups, and the
    number of sites that share with none. On the last two the size of a file depends:
    it has one kernel per group, and normalization of its own for each site, which
    folds into the kernel where it is used once.
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

    def nearest(self, value: Any) -> Any:
        return value if self.compares(value) and value in self.space else None

    def compares(self, value: Any) -> bool:
        is_pattern = isinstance(value, SharingPattern)
        return is_pattern and value.num_sites == self.space.num_sites

    @property
    def width(self) -> int:
        return len(self._pairs[0]) + 2 if self.count > 1 else 0

    @property
    def size_width(self) -> int:
        return min(self.width, 2)

    def features(self, value: SharingPattern) -> ArrayLike:
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
    if isinstance(parameter, Fixed):
        return Constant(parameter)
    numeric = (Int, Float)
    if isinstance(parameter, numeric):
        is_constant = parameter.min_value == parameter.max_value
        return Constant(parameter) if is_constant else Number(parameter)
    if len(parameter.values) == 1:
        return Constant(parameter)
    if getattr(parameter, "ordered", False):
        return Number(parameter)
    return Dimension(parameter)
