"""`ValueSpace`: what a trial may be, to draw from and to move about in."""

import itertools
import random
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from keras_share.search.policies.dimensions import (
    Condition,
    Dimension,
    Pattern,
    dimension,
)
from keras_share.search.space import numbering
from keras_share.search.space.pattern_space import SUFFIX, PatternSpace, pattern_spaces

# The values of a trial, each pattern as a `SharingPattern` by its own name.
Point = dict[str, Any]


class ValueSpace:
    """The parameters of a search, parents before children.

    `patterns` are those that are among them, by name, as integers of `space.numbering`;
    `conditions` must hold for a parameter, by its name, to be one of a trial.

    Example:
    >>> import random
    >>> from optuna.distributions import CategoricalDistribution, IntDistribution
    >>> space = ValueSpace(
    ...     {"sharing": IntDistribution(0, 4), "bias": CategoricalDistribution([0, 1])},
    ...     {"sharing": PatternSpace(3)},
    ... )
    >>> len(space.grid(limit=100))
    10
    >>> space.read({"sharing": 0, "bias": 1}, {"sharing.patterns": '{"num_sites": 3}'})
    {'sharing': SharingPattern('AAA'), 'bias': 1}
    >>> space.vectors([space.draw(random.Random(0))]).shape
    (1, 6)
    """

    def __init__(
        self,
        distributions: Mapping[str, BaseDistribution],
        patterns: Mapping[str, PatternSpace] | None = None,
        conditions: Mapping[str, Sequence[Condition]] | None = None,
    ):
        conditions = conditions or {}
        owners = {
            integer: name
            for name, space in (patterns or {}).items()
            for integer in numbering.ranges(name, space)
        }
        # Where the first of its integers stands, a pattern does.
        names = dict.fromkeys(owners.get(name, name) for name in distributions)
        self.dimensions = [
            Pattern(name, patterns[name], conditions.get(name, ()))
            if patterns and name in patterns
            else dimension(name, distributions[name], conditions.get(name, ()))
            for name in names
        ]
        ends = np.cumsum([0, *(d.width for d in self.dimensions)]).tolist()
        slices = [slice(a, b) for a, b in itertools.pairwise(ends)]
        self._places = list(zip(self.dimensions, slices, strict=True))
        self.blocks = [block for d, block in self._places if d.width]
        # The parts of `vectors` that sizes of models depend on.
        self.size_blocks = [
            slice(block.stop - d.size_width, block.stop)
            for d, block in self._places
            if d.size_width
        ]
        self._width = ends[-1]

    @property
    def patterns(self) -> list[Pattern]:
        """The dimensions that are patterns."""
        return [d for d in self.dimensions if isinstance(d, Pattern)]

    def read(
        self, values: Mapping[str, Any], declared: Mapping[str, Any] | None = None
    ) -> Point:
        """A point from the values of a trial, in which patterns are integers.

        `declared` is what holds `"<name>.patterns"`; None for the values themselves.
        """
        declared = values if declared is None else declared
        parts = {
            part
            for name, space in pattern_spaces(declared).items()
            for part in (name + SUFFIX, *numbering.ranges(name, space))
        }
        others = {name: value for name, value in values.items() if name not in parts}
        return {**numbering.patterns_from_values(values, declared), **others}

    def values(self, point: Point) -> dict[str, Any]:
        """The values that a search engine is to give a trial."""
        values: dict[str, Any] = {}
        for d in self._active(point):
            if isinstance(d, Pattern):
                values[d.name + SUFFIX] = str(d.space)
                values.update(numbering.integers(d.name, d.space, point[d.name]))
            else:
                values[d.name] = point[d.name]
        return values

    def key(self, point: Point) -> Hashable:
        """Equal for points that make the same model."""
        return tuple(
            d.key(point[d.name]) if d.name in point else None for d in self.dimensions
        )

    def draw(self, rng: random.Random) -> Point:
        """A random point; patterns and numbers uniform, as they were declared."""
        return self.complete({}, rng)

    def end(self, last: bool, rng: random.Random) -> Point:
        """A random point in which each pattern is the first, or the last, of its space.

        That is where everything is shared, or as little as the space allows.
        """
        ends = {
            d.name: d.space.pattern(d.space.count - 1 if last else 0)
            for d in self.patterns
        }
        return self.complete(ends, rng)

    def neighbor(self, point: Point, rng: random.Random) -> Point:
        """A point that differs in one dimension, sometimes in two.

        What becomes active is drawn, and what becomes inactive left out. So is what a
        point of an earlier search lacks, or has beside this space.
        """
        point = self.complete(point, rng)
        movable = [d for d in self._active(point) if d.count > 1]
        count = min(len(movable), 1 + (rng.random() < 0.25))
        moved = {d.name: d.move(point[d.name], rng) for d in rng.sample(movable, count)}
        return self.complete({**point, **moved}, rng)

    def grid(self, limit: int) -> list[Point] | None:
        """All points, or None if there are more than `limit` or no end of them."""
        if any(d.count > limit for d in self.dimensions):
            return None
        found = list(itertools.islice(self._grid(self.dimensions, {}), limit + 1))
        return None if len(found) > limit else found

    def vectors(self, points: Sequence[Point]) -> np.ndarray:
        """Points as rows of numbers; a block is 0 where its dimension is inactive.

        Points of an earlier search may lack dimensions, or have further ones or values
        that are none here, such as a pattern of another number of sites.
        """
        vectors = np.zeros((len(points), self._width))
        for vector, point in zip(vectors, points, strict=True):
            for d, block in self._places:
                if d.width and d.name in point and _is_active(d, point):
                    value = point[d.name]
                    if d.compares(value):
                        vector[block] = d.features(value)
        return vectors

    def _active(self, point: Point) -> list[Dimension]:
        return [d for d in self.dimensions if _is_active(d, point)]

    def complete(self, known: Point, rng: random.Random) -> Point:
        """A point with these values, brought into the space; all others are drawn."""
        point: Point = {}
        for d in self.dimensions:
            if _is_active(d, point):
                is_known = d.name in known
                point[d.name] = (
                    d.nearest(known[d.name], rng) if is_known else d.draw(rng)
                )
        return point

    def _grid(self, rest: Sequence[Dimension], point: Point) -> Iterator[Point]:
        if not rest:
            yield point
        elif not _is_active(rest[0], point):
            yield from self._grid(rest[1:], point)
        else:
            for value in rest[0].choices:
                yield from self._grid(rest[1:], {**point, rest[0].name: value})


def _is_active(d: Dimension, point: Point) -> bool:
    return all(condition.is_active(point) for condition in d.conditions)
