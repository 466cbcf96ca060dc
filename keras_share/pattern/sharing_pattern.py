"""`SharingPattern`: which sites of a network share one set of weights."""

import random
import string
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

from keras_share.pattern import draw, families, partitions
from keras_share.pattern.families import FAMILIES, MOST_SITES

_LETTERS = string.ascii_uppercase + string.ascii_lowercase


@dataclass(frozen=True, order=True, repr=False)
class SharingPattern:
    """A partition of the sites of a network into groups that share weights.

    A *site* is one position in depth at which a block is applied; the sites of one
    *group* use the same weights. A pattern is an immutable, hashable, ordered value
    without tensors. Labels are canonical: groups are numbered in order of first
    appearance, so that two ways to write the same sharing are equal.

    Args:
        labels: One hashable label per site; equal labels share. A string counts as
            its characters.

    Raises:
        ValueError: If `labels` is empty.
        TypeError: If `labels` is not a sequence of hashable values.

    Example:
    >>> SharingPattern("BBA")
    SharingPattern('AAB')
    >>> SharingPattern([7, 7, 2]).labels
    (0, 0, 1)
    >>> SharingPattern.cycle(6, 2).groups
    ((0, 2, 4), (1, 3, 5))
    """

    labels: tuple[int, ...]

    def __init__(self, labels: Iterable[Hashable]):
        try:
            labels = tuple(labels)
            numbers: dict[Hashable, int] = {}
            canonical = tuple(numbers.setdefault(x, len(numbers)) for x in labels)
        except TypeError as error:
            raise TypeError(
                "`labels` must be a sequence of hashable labels, one per site, for "
                f"example 'AABB' or [0, 0, 1, 1]. Received: labels={labels!r}"
            ) from error
        if not canonical:
            raise ValueError(
                "`labels` must name at least one site, for example 'AABB'. "
                f"Received: labels={labels!r}"
            )
        if len(canonical) > MOST_SITES:
            raise ValueError(
                f"A pattern must be of at most {MOST_SITES} sites. Received: labels of "
                f"{len(canonical)}"
            )
        object.__setattr__(self, "labels", canonical)

    # Reading a pattern.

    @property
    def num_sites(self) -> int:
        """Number of sites."""
        return len(self.labels)

    @property
    def num_groups(self) -> int:
        """Number of groups, that is, of separate sets of weights."""
        return max(self.labels) + 1

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The sites of each group, groups in order of first appearance."""
        sites: list[list[int]] = [[] for _ in range(self.num_groups)]
        for site, label in enumerate(self.labels):
            sites[label].append(site)
        return tuple(map(tuple, sites))

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each site's group: a letter, or a number beyond 52 groups."""
        if self.num_groups <= len(_LETTERS):
            return tuple(_LETTERS[label] for label in self.labels)
        return tuple(map(str, self.labels))

    def __len__(self) -> int:
        return self.num_sites

    def __str__(self) -> str:
        """The names of the groups in a row (`AABA`; `0-1-...` beyond 52 groups)."""
        return ("" if self.num_groups <= len(_LETTERS) else "-").join(self.names)

    def __repr__(self) -> str:
        return f"SharingPattern({str(self)!r})"

    def draw(self) -> str:
        """A picture in text: a row per group, a column per site, in 80 columns.

        >>> print(SharingPattern.middle_cycle(8, 2).draw())
        site 0 1 2 3 4 5 6 7
        A    o
        B      o---o---o
        C        o---o---o
        D                  o
        """
        return draw.rows(self.groups, [self.names[g[0]] for g in self.groups])

    # Named patterns of the field; `families` has their maps and sources.

    @classmethod
    def unshared(cls, num_sites: int) -> "SharingPattern":
        """Every site has weights of its own: the plain network."""
        return cls(families.unshared(num_sites))

    @classmethod
    def shared(cls, num_sites: int) -> "SharingPattern":
        """All sites share (ALBERT, Universal Transformer)."""
        return cls(families.shared(num_sites))

    @classmethod
    def sandwich(cls, num_sites: int) -> "SharingPattern":
        """First and last site private, all between them shared (Subformer)."""
        return cls(families.sandwich(num_sites))

    @classmethod
    def sequence(cls, num_sites: int, num_groups: int) -> "SharingPattern":
        """Contiguous groups (ALBERT): `sequence(5, 2)` is `AAABB`."""
        return cls(families.sequence(num_sites, num_groups))

    @classmethod
    def cycle(cls, num_sites: int, num_groups: int) -> "SharingPattern":
        """Groups in turn (Takase & Kiyono): `cycle(5, 2)` is `ABABA`."""
        return cls(families.cycle(num_sites, num_groups))

    @classmethod
    def cycle_rev(cls, num_sites: int, num_groups: int) -> "SharingPattern":
        """A cycle whose last round runs backwards: `cycle_rev(6, 3)` is `ABCCBA`."""
        return cls(families.cycle_rev(num_sites, num_groups))

    @classmethod
    def middle_sequence(cls, num_sites: int, num_groups: int) -> "SharingPattern":
        """Contiguous groups between private ends: `middle_sequence(6, 2)`, `ABBCCD`."""
        return cls(families.middle_sequence(num_sites, num_groups))

    @classmethod
    def middle_cycle(cls, num_sites: int, num_groups: int) -> "SharingPattern":
        """Groups in turn between private ends: `middle_cycle(6, 2)` is `ABCBCD`."""
        return cls(families.middle_cycle(num_sites, num_groups))

    @classmethod
    def core(cls, prelude: int, core: int, repeats: int, coda: int) -> "SharingPattern":
        """A core run several times between private sites: recurrent depth, Huginn."""
        return cls(families.core(prelude, core, repeats, coda))

    @classmethod
    def repeats(cls, counts: Sequence[int]) -> "SharingPattern":
        """Each group repeated in place: `repeats((2, 1, 3))` is `AABCCC`."""
        return cls(families.repeats(counts))

    @classmethod
    def get(cls, spec: "PatternLike", num_sites: int | None = None) -> "SharingPattern":
        """Reads a pattern from whatever a user may pass.

        Args:
            spec: A `SharingPattern`; labels (`[0, 0, 1]`, `"AAB"`); a family with the
                numbers it takes (`"shared"`, `"cycle:2"`, `"core:1,2,3,1"`,
                `"repeats:2,1,3"`); the `str()` of a pattern; or None, which shares
                nothing. A string that is close to the name of a family is no labels
                but a misspelling (`"Shared"`, `"sandwhich"`, `"cycle2"`).
            num_sites: Number of sites. Needed for None and for families other than
                `"core"` and `"repeats"`, checked otherwise.

        Raises:
            ValueError: If `spec` does not describe a pattern of `num_sites` sites, or
                misspells a family; the message has the name that was probably meant.

        Example:
        >>> SharingPattern.get("cycle:2", num_sites=4)
        SharingPattern('ABAB')
        """
        if num_sites is not None:
            families.check_sites(num_sites)
        if isinstance(spec, SharingPattern):
            pattern = spec
        elif spec is None:
            pattern = cls(families.from_spec("unshared", num_sites))
        elif isinstance(spec, str) and (":" in spec or families.nearest(spec)):
            pattern = cls(families.from_spec(spec, num_sites))
        elif isinstance(spec, str) and "-" in spec:
            pattern = cls(spec.split("-"))
        else:
            pattern = cls(spec)
        if num_sites is not None and pattern.num_sites != num_sites:
            raise ValueError(
                f"The pattern must have one label per site ({num_sites}). Received: "
                f"{spec!r} with {pattern.num_sites} labels (families of patterns: "
                f"{', '.join(FAMILIES)})"
            )
        return pattern

    # The set of all patterns.

    @classmethod
    def all(
        cls, num_sites: int, max_groups: int | None = None
    ) -> Iterator["SharingPattern"]:
        """Yields every pattern of `num_sites` sites exactly once, in sorted order.

        >>> [str(p) for p in SharingPattern.all(3)]
        ['AAA', 'AAB', 'ABA', 'ABB', 'ABC']
        """
        limit = _check_limit(max_groups, num_sites)
        return (cls(labels) for labels in partitions.strings(num_sites, limit))

    @classmethod
    def count(cls, num_sites: int, max_groups: int | None = None) -> int:
        """How many patterns there are, exactly.

        The Bell number of `num_sites`, or with `max_groups` the sum of the Stirling
        numbers of the second kind up to it.

        >>> SharingPattern.count(6), SharingPattern.count(6, max_groups=2)
        (203, 32)
        """
        return partitions.count(num_sites, _check_limit(max_groups, num_sites))

    @classmethod
    def from_rank(
        cls, rank: int, num_sites: int, max_groups: int | None = None
    ) -> "SharingPattern":
        """The pattern at position `rank` of `all(num_sites, max_groups)`.

        Raises:
            ValueError: If `rank` is not in `[0, count(num_sites, max_groups))`.
        """
        limit = _check_limit(max_groups, num_sites)
        total = partitions.count(num_sites, limit)
        if not 0 <= rank < total:
            raise ValueError(
                f"`rank` must be between 0 and {total - 1}, the last pattern of "
                f"{num_sites} sites with at most {limit} groups. Received: rank={rank}"
            )
        return cls(partitions.unrank(rank, num_sites, limit))

    def rank(self, max_groups: int | None = None) -> int:
        """The position of this pattern in `all(num_sites, max_groups)`."""
        limit = _check_limit(max_groups, self.num_sites)
        if self.num_groups > limit:
            raise ValueError(
                f"A pattern of {self.num_groups} groups is not among those of at most "
                f"{limit}. Received: max_groups={max_groups} for {self!r}"
            )
        return partitions.rank(self.labels, limit)

    @classmethod
    def sample(
        cls, num_sites: int, rng: Any = None, max_groups: int | None = None
    ) -> "SharingPattern":
        """Draws a pattern, uniformly over partitions (not over strings of labels).

        Args:
            num_sites: Number of sites.
            rng: A `random.Random`, a `numpy.random.Generator`, an integer seed, or
                None for an unseeded draw.
            max_groups: At most this many groups.
        """
        if hasattr(rng, "bytes"):  # numpy: its integers end at 64 bits, Bell's don't
            rng = random.Random(rng.bytes(32))
        elif not isinstance(rng, random.Random):
            rng = random.Random(rng)
        total = cls.count(num_sites, max_groups)
        return cls.from_rank(rng.randrange(total), num_sites, max_groups)

    # Moving about in it.

    def merge(self, a: int, b: int) -> "SharingPattern":
        """The pattern in which groups `a` and `b` are one.

        >>> SharingPattern("ABCA").merge(0, 2)
        SharingPattern('ABAA')
        """
        for group in (a, b):
            if not 0 <= group < self.num_groups:
                raise ValueError(
                    f"A group to merge must be between 0 and {self.num_groups - 1}. "
                    f"Received: a={a}, b={b} for {self!r}"
                )
        return SharingPattern(a if label == b else label for label in self.labels)

    def meet(self, other: Any) -> "SharingPattern":
        """The pattern in which two sites share only where both patterns share them.

        It has the fewest groups of all patterns that split both. `other` is anything
        that `get` reads, of as many sites.

        >>> SharingPattern("AABB").meet("sandwich")
        SharingPattern('ABCD')
        """
        other = SharingPattern.get(other, self.num_sites)
        return SharingPattern(zip(self.labels, other.labels, strict=True))

    def neighbors(self) -> Iterator["SharingPattern"]:
        """Yields every pattern one merge or one split away, each once.

        All merges come first. Splits are yielded lazily: a group of `s` sites has
        `2 ** (s - 1) - 1` of them.
        """
        for a, b in combinations(range(self.num_groups), 2):
            yield self.merge(a, b)
        for group in self.groups:
            yield from self._splits(group)

    def _splits(self, group: Sequence[int]) -> Iterator["SharingPattern"]:
        # The first site stays: each pair of halves is then met once.
        for size in range(1, len(group)):
            for leaving in combinations(group[1:], size):
                labels = list(self.labels)
                for site in leaving:
                    labels[site] = self.num_groups
                yield SharingPattern(labels)


def _check_limit(max_groups: int | None, num_sites: int) -> int:
    families.check_sites(num_sites)
    if max_groups is None:
        return num_sites
    if not isinstance(max_groups, int) or max_groups < 1:
        raise ValueError(
            "`max_groups` must be an integer of at least 1, or None for no limit. "
            f"Received: max_groups={max_groups!r}"
        )
    return min(max_groups, num_sites)


# What `SharingPattern.get` reads.
PatternLike: TypeAlias = SharingPattern | str | Sequence[Hashable] | None
