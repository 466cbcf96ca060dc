"""`PatternSpace`: the patterns that a search may choose from, numbered."""

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations
from typing import Any

from keras_share.pattern.families import (
    FAMILIES,
    GROUPED_FAMILIES,
    MIDDLE_FAMILIES,
    check_sites,
    members,
)
from keras_share.pattern.sharing_pattern import SharingPattern

# Beside the index of a pattern, KerasTuner's search space has this one of fixed value,
# and Optuna's trial this attribute. It tells what the index means: to an oracle or a
# sampler in another process, and to a later reader.
SUFFIX = ".patterns"
MOST_SITES = 256  # to number the partitions of more takes seconds


@dataclass(frozen=True)
class PatternSpace:
    """A set of patterns in a fixed order.

    Args:
        num_sites: Number of sites.
        max_groups: At most this many groups; None for no limit.
        families: The families to choose from, as `sharing_pattern` reads them; None
            for all partitions.
        private_ends: Whether the first and the last site share with none.

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
    private_ends: bool = False

    def __post_init__(self):
        check_sites(self.num_sites)
        if self.num_sites > MOST_SITES:
            raise ValueError(
                f"A search must choose for at most {MOST_SITES} sites. Received: "
                f"num_sites={self.num_sites}. Let each site be a "
                "larger part of the network."
            )
        families = self.families
        if families is not None:
            families = [families] if isinstance(families, str) else families
            object.__setattr__(self, "families", tuple(map(str, families)))
        self.count  # noqa: B018 (raises what is wrong)

    @cached_property
    def count(self) -> int:
        """How many patterns there are, exactly."""
        if self.families is not None:
            return len(self._listed)
        if self.private_ends:
            return self._between.count
        return SharingPattern.count(self.num_sites, self.max_groups)

    def pattern(self, index: int) -> SharingPattern:
        """The pattern at a position."""
        if self.families is not None:
            return self._listed[index]
        if self.private_ends:
            return SharingPattern([-1, *self._between.pattern(index).labels, -2])
        return SharingPattern.from_rank(index, self.num_sites, self.max_groups)

    def index(self, pattern: SharingPattern) -> int:
        """The position of a pattern.

        Raises:
            ValueError: If the space does not contain it.
        """
        if pattern not in self:
            raise ValueError(
                f"The pattern must be one of the space {self}. Received: {pattern!r}"
            )
        if self.families is not None:
            return self._positions[pattern]
        if self.private_ends:
            return self._between.index(SharingPattern(pattern.labels[1:-1]))
        return pattern.rank(self.max_groups)

    def __contains__(self, pattern: SharingPattern) -> bool:
        if self.families is not None:
            return pattern in self._positions
        limit = self.max_groups or self.num_sites
        fits = pattern.num_sites == self.num_sites and pattern.num_groups <= limit
        return fits and (not self.private_ends or _has_private_ends(pattern))

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
        found = _family_patterns(
            tuple(self.families or ()), self.num_sites, self.max_groups
        )
        if self.private_ends:
            found = tuple(filter(_has_private_ends, found))
        if not found:
            raise ValueError(
                "`families`, `max_groups` and `private_ends` must leave at least one "
                f"pattern. Received: families={list(self.families or ())!r}, "
                f"max_groups={self.max_groups}, private_ends={self.private_ends}, "
                f"num_sites={self.num_sites}. Add a family or raise `max_groups`."
            )
        return found

    @cached_property
    def _between(self) -> "PatternSpace":
        """All partitions of the sites between the ends."""
        groups = self.max_groups or self.num_sites
        if self.num_sites < 3 or groups < 3:
            raise ValueError(
                "With `private_ends` there must be a site and a group between the "
                f"first and the last. Received: num_sites={self.num_sites}, "
                f"max_groups={self.max_groups}"
            )
        return PatternSpace(self.num_sites - 2, groups - 2)

    @cached_property
    def _positions(self) -> dict[SharingPattern, int]:
        return {pattern: index for index, pattern in enumerate(self._listed)}

    def __str__(self) -> str:
        fields: dict[str, Any] = {"num_sites": self.num_sites}
        if self.max_groups is not None:
            fields["max_groups"] = self.max_groups
        if self.families is not None:
            fields["families"] = list(self.families)
        if self.private_ends:
            fields["private_ends"] = True
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


def _has_private_ends(pattern: SharingPattern) -> bool:
    labels = pattern.labels
    return labels.count(labels[0]) == 1 == labels.count(labels[-1])


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
        if family.partition(":")[0] not in FAMILIES:
            raise ValueError(
                f"`families` must be names out of {', '.join(FAMILIES)}, the last "
                f"{len(MIDDLE_FAMILIES + GROUPED_FAMILIES)} optionally with a number "
                f"of groups ('cycle:2'). Received: {family!r}"
            )
        specs = members(family, num_sites)
        found.update(SharingPattern.get(spec, num_sites) for spec in specs)
    patterns = [pattern for pattern in found if pattern.num_groups <= limit]
    return tuple(sorted(patterns, key=lambda pattern: (pattern.num_groups, pattern)))
