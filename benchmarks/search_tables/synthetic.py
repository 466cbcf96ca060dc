"""Costs of patterns of twelve sites, with the effects that the tables of six have."""

import random
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import combinations

import numpy as np

from keras_share import SharingPattern
from keras_share.search.pareto import hypervolume, non_dominated
from keras_share.search.space.pattern_space import PatternSpace

from .tables import Table

SITES = 12
# The front is that of so many points: half are drawn, half descend from the front.
REFERENCE, CHILDREN = 10_000, 500


class Synthetic:
    """A task in the likeness of a table.

    The error of a pattern is a sum over the pairs of sites that share, plus one over
    its groups by their size, plus an effect of each group of sites as a whole. What the
    first two are is fitted to the table; pairs of twelve sites have the effects of
    those of six that lie at the same place, and differ from task to task as much as
    they do in the table. The effects of whole groups are as large as what the fit
    leaves, trainings of one pattern differ as they do in the table, and so do bytes: a
    kernel for each group.

    Args:
        name: `"digits-12"` or `"spoken-12"`.
        seed: Of the task.
    """

    num_sites = SITES

    def __init__(self, name: str, seed: int):
        self.table = Table(name.removesuffix(f"-{SITES}"))
        self.seed = seed
        rng = np.random.default_rng([seed, 12])
        pairs, sizes, left = _fit(self.table)
        matrix = np.zeros((6, 6))
        for (i, j), weight in zip(combinations(range(6), 2), pairs, strict=True):
            matrix[i, j] = matrix[j, i] = weight
        beside = [matrix[i, i + 1] for i in range(5)]
        np.fill_diagonal(matrix, [beside[0], *beside[1:], beside[-1]])
        half = np.arange(SITES) // 2
        jitter = np.triu(rng.normal(0, pairs.std(), (SITES, SITES)), 1)
        # Four pairs of twelve sites lie where one of six does.
        self._pairs = (matrix[np.ix_(half, half)] + jitter + jitter.T) / 4
        self._sizes = np.interp(np.arange(SITES + 1) / 2, np.arange(7), [0, *sizes])
        self._whole = 0.0
        drawn = self._drawn(2000)
        explained = np.array([self._effects(p) for p in drawn])
        # As in the table, the part that pairs and sizes leave unexplained.
        self._whole = 1.0
        whole = np.array([self._effects(p) for p in drawn]) - explained
        self._whole = left * explained.std() / whole.std()
        mean = np.mean([self._effects(pattern) for pattern in drawn])
        self._offset = 1 - self.table.truth.mean() - mean
        self._noise = np.sqrt(self.table.scores.var(axis=1, ddof=1).mean())

    def point(self, pattern: SharingPattern) -> tuple[float, float]:
        """Error and bytes of a pattern, without noise."""
        error = self._offset + self._effects(pattern)
        alone = sum(len(group) == 1 for group in pattern.groups)
        return error, 10373.0 + 1373 * pattern.num_groups + 29 * alone

    def draw(self, pattern: SharingPattern, rng: np.random.Generator) -> float:
        """The accuracy of one training."""
        return 1 - self.point(pattern)[0] + rng.normal(0, self._noise)

    def rank(self, pattern: SharingPattern) -> int:
        """Its place by error among the points of the reference."""
        return 1 + int((self.reference[:, 0] < self.point(pattern)[0]).sum())

    @cached_property
    def reference(self) -> np.ndarray:
        """Errors and bytes of drawn patterns, and of the front's descendants."""
        space = PatternSpace(SITES)
        ends = [space.pattern(0), space.pattern(space.count - 1)]
        found = [*ends, *self._drawn(REFERENCE // 2)]
        points = [self.point(pattern) for pattern in found]
        rng = random.Random(f"children {self.seed}")
        while len(found) < REFERENCE:
            front = np.flatnonzero(non_dominated(points))
            for _ in range(min(CHILDREN, REFERENCE - len(found))):
                child = space.neighbor(found[rng.choice(front)], rng)
                found.append(child)
                points.append(self.point(child))
        return np.array(points)

    @cached_property
    def extent(self) -> tuple[np.ndarray, float]:
        """The worst error and size that count, and the hypervolume of the reference."""
        worst = self.reference.max(axis=0) * 1.001
        return worst, hypervolume(self.reference, worst)

    def _drawn(self, count: int) -> list[SharingPattern]:
        rng, space = random.Random(f"draws {self.seed}"), PatternSpace(SITES)
        return [space.sample(rng) for _ in range(count)]

    def _effects(self, pattern: SharingPattern) -> float:
        total = 0.0
        for group in pattern.groups:
            members = list(group)
            total += self._pairs[np.ix_(members, members)][
                np.triu_indices(len(members), 1)
            ].sum()
            total += self._sizes[len(members)]
            if self._whole:
                total += self._whole * _effect(self.seed, tuple(members))
        return total


@lru_cache(maxsize=2**16)
def _effect(seed: int, members: Sequence[int]) -> float:
    """What a group has as a whole."""
    return np.random.default_rng([seed, *members, 99]).normal()


def _fit(table: Table) -> tuple[np.ndarray, np.ndarray, float]:
    """Effects of pairs and of sizes of groups, and what they leave beside noise.

    The last is a part of the standard deviation of the first two.
    """
    patterns = [SharingPattern(p) for p in table.truth.index]
    rows = []
    for p in patterns:
        shared = [p.labels[i] == p.labels[j] for i, j in combinations(range(6), 2)]
        sizes = [len(group) for group in p.groups]
        rows.append([*shared, *(sizes.count(size) for size in range(1, 7))])
    features, errors = np.array(rows, float), 1 - table.truth.to_numpy()
    features, errors = features - features.mean(axis=0), errors - errors.mean()
    weights, *_ = np.linalg.lstsq(features, errors, rcond=None)
    explained = features @ weights
    noise = table.scores.var(axis=1, ddof=1).mean() / table.scores.shape[1]
    left = max(np.var(errors - explained) - noise, 0)
    return weights[:15], weights[15:], float(np.sqrt(left / explained.var()))
