"""The dimensions of a search: how each kind of parameter is drawn and compared."""

import math
import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.space.pattern_space import PatternSpace

# A neighbor's number lies about this far from its own, in units of the range.
_STEP = 0.15


class Condition(Protocol):
    """What must hold for a parameter to be one of a trial."""

    def is_active(self, values: Any) -> bool:
        """Whether it holds, by the values of the parameters before it."""


class Dimension:
    """A parameter of a few values without order, if its conditions hold; a base."""

    def __init__(
        self, name: str, choices: Iterable[Any], conditions: Sequence[Condition] = ()
    ):
        self.name = name
        self.conditions = conditions
        self._choices = list(choices)

    @property
    def choices(self) -> Iterable[Any]:
        """All values, if `count` is finite."""
        return self._choices

    @property
    def count(self) -> float:
        """How many values there are."""
        return len(self._choices)

    def draw(self, rng: random.Random) -> Any:
        """A random value."""
        return rng.choice(self._choices)

    def move(self, value: Any, rng: random.Random) -> Any:
        """Another value, near to `value` where that has a meaning."""
        others = [other for other in self.choices if other != value]
        return rng.choice(others) if others else value

    def nearest(self, value: Any, rng: random.Random) -> Any:
        """What a value, maybe of an earlier search, stands for here; drawn if nothing.

        Always one of the values of this dimension, of their type.
        """
        return next((own for own in self.choices if own == value), self.draw(rng))

    def compares(self, value: Any) -> bool:
        """Whether a value, maybe of an earlier search, has features here."""
        return True

    def key(self, value: Any) -> Hashable:
        """Equal for equal values."""
        return value if isinstance(value, Hashable) else repr(value)

    @property
    def width(self) -> int:
        """How many features a value has."""
        return int(self.count) if self.count > 1 else 0

    def features(self, value: Any) -> ArrayLike:
        """A value as `width` numbers, near to each other for values that are alike."""
        return [math.sqrt(0.5) * (value == other) for other in self.choices]

    @property
    def size_width(self) -> int:
        """How many of the features, the last ones, the size of a model depends on."""
        return self.width


class Ordered(Dimension):
    """A parameter with an order: its place in the range, in [0, 1], is its feature."""

    def draw(self, rng: random.Random) -> Any:
        return self.value(rng.random())

    def move(self, value: Any, rng: random.Random) -> Any:
        place = min(max(self.place(value) + rng.gauss(0, _STEP), 0.0), 1.0)
        moved = self.value(place)
        while moved == value:
            moved = self.draw(rng)
        return moved

    def compares(self, value: Any) -> bool:
        return value in self.choices

    @property
    def width(self) -> int:
        return int(self.count > 1)

    def features(self, value: Any) -> ArrayLike:
        return [self.place(value)]

    def place(self, value: Any) -> float:
        """Where a value lies in the range."""
        return (self._choices.index(value) + 0.5) / len(self._choices)

    def value(self, place: float) -> Any:
        """The value at a place."""
        last = len(self._choices) - 1
        return self._choices[min(int(place * len(self._choices)), last)]


class Number(Ordered):
    """An integer or a float of a range, with steps or without."""

    def __init__(
        self,
        name: str,
        distribution: IntDistribution | FloatDistribution,
        conditions: Sequence[Condition] = (),
    ):
        self.distribution = distribution
        self._type = int if isinstance(distribution, IntDistribution) else float
        # Rounded values have half a step around them; drawn as Optuna draws.
        self._step = distribution.step or 0
        low, high = (
            distribution.low - self._step / 2,
            distribution.high + self._step / 2,
        )
        self._to: Callable = math.log if distribution.log else float
        self._from: Callable = math.exp if distribution.log else float
        self._low, self._extent = self._to(low), self._to(high) - self._to(low)
        super().__init__(name, (), conditions)

    @property
    def choices(self) -> Iterable[Any]:
        low, step = self.distribution.low, self._step
        # Not listed, as there may be more than memory holds.
        return (self._rounded(low + i * step) for i in range(int(self.count)))

    @property
    def count(self) -> float:
        extent = self.distribution.high - self.distribution.low
        if extent == 0:
            return 1
        return round(extent / self._step) + 1 if self._step else math.inf

    def nearest(self, value: Any, rng: random.Random) -> Any:
        return self._rounded(value) if self.compares(value) else self.draw(rng)

    def compares(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return self.distribution.low <= value <= self.distribution.high

    def place(self, value: Any) -> float:
        return (self._to(value) - self._low) / self._extent if self._extent else 0.5

    def value(self, place: float) -> Any:
        return self._rounded(self._from(self._low + place * self._extent))

    def _rounded(self, value: float) -> Any:
        low, high = self.distribution.low, self.distribution.high
        if self._step:
            value = low + round((value - low) / self._step) * self._step
        return self._type(min(max(value, low), high))


class Pattern(Dimension):
    """A pattern: which pairs of sites share is what makes two of them alike.

    The features are one indicator per pair of sites, the number of groups, and the
    number of sites that share with none. On the last two the size of a file depends:
    it has one kernel per group, and normalization of its own for each site, which
    folds into the kernel where it is used once.
    """

    def __init__(
        self, name: str, space: PatternSpace, conditions: Sequence[Condition] = ()
    ):
        super().__init__(name, (), conditions)
        self.space = space
        self._pairs = np.triu_indices(space.num_sites, k=1)

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

    def nearest(self, value: Any, rng: random.Random) -> Any:
        is_own = self.compares(value) and value in self.space
        return value if is_own else self.draw(rng)

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
        labels, sites = np.array(value.labels), value.num_sites
        first, second = self._pairs
        together = (labels[first] == labels[second]) / math.sqrt(len(first))
        alone = np.count_nonzero(np.bincount(labels) == 1)
        return np.concatenate([together, [value.num_groups / sites, alone / sites]])


def dimension(
    name: str, distribution: BaseDistribution, conditions: Sequence[Condition] = ()
) -> Dimension:
    """What a parameter of Optuna is in a search, if it is no pattern's.

    Raises:
        ValueError: If it is of a kind that Optuna does not have today.
    """
    if isinstance(distribution, (IntDistribution, FloatDistribution)):
        return Number(name, distribution, conditions)
    if not isinstance(distribution, CategoricalDistribution):
        raise ValueError(
            "A parameter must have an integer, float or categorical distribution of "
            f"Optuna. Received: {distribution!r} for {name!r}"
        )
    choices = distribution.choices
    if all(type(choice) in (int, float) for choice in choices):
        return Ordered(name, sorted(choices), conditions)
    return Dimension(name, choices, conditions)
