"""`PatternSpace`: the patterns that a search may choose from, numbered."""

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations
from typing import Any

from keras_share.pattern.families import FAMILIES, GROUPED_FAMILIES, MIDDLE_FAMILIES
from keras_share.pattern.sharing_pattern import SharingPattern

# Beside the index of a pattern, KerasTuner's search space has this one of fixed value,
# and Optuna's trial this attribute. It tells what the index means: to an oracle or a
# sampler in another process, and to a later reader.
SUFFIX = ".patterns"


@dataclass(frozen=True)
class PatternSpace:
    """A set of patterns in a fixed order.

    Args:
        num_sites: Number of sites.
        max_groups: At most this many groups; None for no limit.
        families: The families to choose from, as `sharing_pattern` reads them; None
            for all partitions.

    Raises:
        ValueError: If a family is unknown, or if no pattern is left.

    Example:
    >>> space = PatternSpace(4, max_groups=2)
    >>> space.count, space.pattern(3), space.index(SharingPattern("AABB"))
    (8, SharingPattern('AABB'), 3)
    >>> PatternSpace.parse(str(space)) == space
    True
    """

    num_sites: int
    max_groups: int | None = None
    families: Iterable[str] | None = None

    def __post_init__(self):
        families = self.families
        if families is not None:
            families = [families] if isinstance(families, str) else families
            object.__setattr__(self, "families", tuple(map(str, families)))
        self.count  # noqa: B018 (raises what is wrong)

    @cached_property
    def count(self) -> int:
        """How many patterns there are, exactly."""
        if self.families is None:
            return SharingPattern.count(self.num_sites, self.max_groups)
        return len(self._listed)

    def pattern(self, index: int) -> SharingPattern:
        """The pattern at a position."""
        if self.families is None:
            return SharingPattern.from_rank(index, self.num_sites, self.max_groups)
        return self._listed[index]

    def index(self, pattern: SharingPattern) -> int:
        """The position of a pattern.

        Raises:
            ValueError: If the space does not contain it.
        """
        if pattern not in self:
            raise ValueError(
                f"The pattern must be one of the space {self}. Received: {pattern!r}"
            )
        if self.families is None:
            return pattern.rank(self.max_groups)
        return self._positions[pattern]

    def __contains__(self, pattern: SharingPattern) -> bool:
        if self.families is not None:
            return pattern in self._positions
        limit = self.max_groups or self.num_sites
        return pattern.num_sites == self.num_sites and pattern.num_groups <= limit

    def sample(self, rng: random.Random) -> SharingPattern:
        """Draws a pattern, uniformly."""
        return self.pattern(rng.randrange(self.count))

    def neighbor(self, pattern: SharingPattern, rng: random.Random) -> SharingPattern:
        """Draws a pattern near to one of the space, other than itself if there is one.

        One site moves to another group or to one of its own, two groups merge, or a
        group splits. Among families any other, with a probability that falls with the
        square of the number of pairs of sites that share in only one of the two.
        """
        if self.families is not None:
            others = [other for other in self._listed if other != pattern]
            weights = [1 / _distance(pattern, other) ** 2 for other in others]
            return rng.choices(others, weights)[0] if others else pattern
        for _ in range(100):
            moved = _move(pattern, rng)
            if moved != pattern and moved in self:
                return moved
        return pattern

    @cached_property
    def _listed(self) -> tuple[SharingPattern, ...]:
        return _family_patterns(
            tuple(self.families or ()), self.num_sites, self.max_groups
        )

    @cached_property
    def _positions(self) -> dict[SharingPattern, int]:
        return {pattern: index for index, pattern in enumerate(self._listed)}

    def __str__(self) -> str:
        fields: dict[str, Any] = {"num_sites": self.num_sites}
        if self.max_groups is not None:
            fields["max_groups"] = self.max_groups
        if self.families is not None:
            fields["families"] = list(self.families)
        return json.dumps(fields)

    @classmethod
    @cache
    def parse(cls, text: str) -> "PatternSpace":
        """Reads what `str` wrote."""
        return cls(**json.loads(text))


def pattern_spaces(values: Mapping[str, Any]) -> dict[str, PatternSpace]:
    """The spaces of the pattern hyperparameters among `values`, by their names."""
    return {
        name.removesuffix(SUFFIX): PatternSpace.parse(value)
        for name, value in values.items()
        # Attributes of trials are the user's: one may be called so as well.
        if name.endswith(SUFFIX) and str(value).startswith('{"num_sites"')
    }


def _move(pattern: SharingPattern, rng: random.Random) -> SharingPattern:
    labels = list(pattern.labels)
    groups = pattern.num_groups
    kind = rng.random()
    if kind < 0.5:  # one site
        labels[rng.randrange(len(labels))] = rng.randrange(groups + 1)
    elif kind < 0.75 and groups > 1:
        first, second = rng.sample(range(groups), 2)
        labels = [first if label == second else label for label in labels]
    else:
        group = rng.choice(pattern.groups)
        for site in group:
            labels[site] += groups * (rng.random() < 0.5)
    return SharingPattern(labels)


def _distance(a: SharingPattern, b: SharingPattern) -> int:
    """The number of pairs of sites that share in only one of two patterns."""
    return sum(
        (a.labels[i] == a.labels[j]) != (b.labels[i] == b.labels[j])
        for i, j in combinations(range(a.num_sites), 2)
    )


@cache
def _family_patterns(
    families: tuple[str, ...], num_sites: int, max_groups: int | None
) -> tuple[SharingPattern, ...]:
    """The distinct patterns of `families`, few groups first.

    The order depends on the set of patterns alone, so that the index of a resumed
    search means the same although the families are named in another order.
    """
    SharingPattern.count(num_sites, max_groups)  # raises what they must satisfy
    limit = min(max_groups or num_sites, num_sites)
    found: set[SharingPattern] = set()
    for family in families:
        kind, _, argument = family.partition(":")
        if kind not in FAMILIES:
            raise ValueError(
                f"`families` must be names out of {', '.join(FAMILIES)}, the last "
                f"{len(MIDDLE_FAMILIES + GROUPED_FAMILIES)} optionally with a number "
                f"of groups ('cycle:2'). Received: {family!r}"
            )
        if kind in GROUPED_FAMILIES and not argument:
            specs = [f"{kind}:{groups}" for groups in range(1, limit + 1)]
        elif kind in MIDDLE_FAMILIES and not argument:
            specs = [f"{kind}:{groups}" for groups in range(1, num_sites - 1)]
        else:
            specs = [family]
        found.update(SharingPattern.get(spec, num_sites) for spec in specs)
    patterns = [pattern for pattern in found if pattern.num_groups <= limit]
    if not patterns:
        raise ValueError(
            "`families` and `max_groups` must leave at least one pattern. Received: "
            f"families={list(families)!r}, max_groups={max_groups}, "
            f"num_sites={num_sites}. Add a family or raise `max_groups`."
        )
    return tuple(sorted(patterns, key=lambda pattern: (pattern.num_groups, pattern)))
