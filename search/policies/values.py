"""`ValueSpace`: what a trial may be, to draw from and to move about in."""

import itertools
import random
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_share.search.engine import HyperParameter
from keras_share.search.policies.dimensions import Dimension, Pattern, dimension
from keras_share.search.space.pattern_space import SUFFIX
from keras_share.search.space.sharing_pattern import (
    pattern_values,
    patterns_from_values,
    values_of_pattern,
)

# The values of a trial, each pattern as a `SharingPattern` by its own name.
Point = dict[str, Any]


class ValueSpace:
    """The hyperparameters of a search.

    Args:
        parameters: Hyperparameters in KerasTuner's order, parents before children.

    Example:
    >>> import keras_tuner as kt, random
    >>> from keras_share.search import sharing_pattern
    >>> hp = kt.HyperParameters()
    >>> _ = sharing_pattern(hp, 3), hp.Boolean("bias")
    >>> space = ValueSpace(hp.space)
    >>> len(space.grid(limit=100))
    10
    >>> space.read(hp.values)
    {'sharing': SharingPattern('AAA'), 'bias': False}
    >>> space.vectors([space.draw(random.Random(0))]).shape
    (1, 7)
    """

    def __init__(self, parameters: Sequence[HyperParameter]):
        declared = {p.name: p.default for p in parameters if p.name.endswith(SUFFIX)}
        stand_for_patterns = pattern_values(declared) - set(declared)
        self.dimensions = [
            dimension(p) for p in parameters if p.name not in stand_for_patterns
        ]
        ends = np.cumsum([0, *(d.width for d in self.dimensions)])
        slices = [slice(a, b) for a, b in itertools.pairwise(ends.tolist())]
        self._places = list(zip(self.dimensions, slices, strict=True))
        self.blocks = [block for d, block in self._places if d.width]

    def read(self, values: Mapping[str, Any]) -> Point:
        """A point from the values of one of KerasTuner's trials."""
        parts = pattern_values(values)
        others = {name: value for name, value in values.items() if name not in parts}
        return {**patterns_from_values(values), **others}

    def values(self, point: Point) -> dict[str, Any]:
        """The values that KerasTuner is to give a trial."""
        values = {}
        for d in self._active(point):
            if isinstance(d, Pattern):
                values[d.parameter.name] = d.parameter.value
                values.update(values_of_pattern(d.name, d.space, point[d.name]))
            else:
                values[d.name] = point[d.name]
        return values

    def key(self, point: Point) -> Hashable:
        """Equal for points that make the same model."""
        return frozenset(point.items())

    def draw(self, rng: random.Random) -> Point:
        """A random point; patterns and numbers uniform, as they were declared."""
        return self._complete({}, rng)

    def end(self, last: bool, rng: random.Random) -> Point:
        """A random point in which each pattern is the first, or the last, of its space.

        That is where everything is shared, or as little as the space allows.
        """
        ends = {
            d.name: d.space.pattern(d.space.count - 1 if last else 0)
            for d in self.dimensions
            if isinstance(d, Pattern)
        }
        return self._complete(ends, rng)

    def neighbor(self, point: Point, rng: random.Random) -> Point:
        """A point that differs in one dimension, sometimes in two.

        What becomes active is drawn, and what becomes inactive left out. So is what a
        point of an earlier search lacks, or has beside this space.
        """
        point = self._complete(point, rng)
        movable = [d for d in self._active(point) if d.count > 1]
        count = min(len(movable), 1 + (rng.random() < 0.25))
        moved = {d.name: d.move(point[d.name], rng) for d in rng.sample(movable, count)}
        return self._complete({**point, **moved}, rng)

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
        vectors = np.zeros(
            (len(points), self._places[-1][1].stop if self._places else 0)
        )
        for vector, point in zip(vectors, points, strict=True):
            for d, block in self._places:
                if d.width and d.name in point and _is_active(d, point):
                    value = point[d.name]
                    if d.compares(value):
                        vector[block] = d.features(value)
        return vectors

    def size_vectors(self, vectors: np.ndarray) -> tuple[np.ndarray, list[slice]]:
        """The part of `vectors` that sizes of models depend on, and its blocks."""
        ends = np.cumsum([0, *(d.size_width for d in self.dimensions)])
        parts = [
            np.arange(block.stop - d.size_width, block.stop)
            for d, block in self._places
        ]
        blocks = [slice(a, b) for a, b in itertools.pairwise(ends.tolist()) if b > a]
        return vectors[:, np.concatenate([np.empty(0, int), *parts])], blocks

    def _active(self, point: Point) -> list[Dimension]:
        return [d for d in self.dimensions if _is_active(d, point)]

    def _complete(self, known: Point, rng: random.Random) -> Point:
        point: Point = {}
        for d in self.dimensions:
            if _is_active(d, point):
                value = d.nearest(known[d.name]) if d.name in known else None
                point[d.name] = d.draw(rng) if value is None else value
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
