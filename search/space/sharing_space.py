"""`sharing_space`: all that a designer may choose of sharing, as hyperparameters."""

import contextlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras_tuner as kt

from keras_share.layers.relax.low_rank import LowRank
from keras_share.layers.relax.relaxation import Relaxation
from keras_share.layers.relax.scale import Scale
from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.space.sharing_pattern import sharing_pattern

DESIGNS = (
    "repeats",
    "core",
    "sandwich",
    "middle_sequence",
    "middle_cycle",
    "sequence",
    "cycle",
    "cycle_rev",
    "shared",
)
"""The families of the literature; what it found to cost least stands first."""

RELAXATIONS = ("none", "scale", "low_rank")


@dataclass(frozen=True)
class SharingDesign:
    """What was chosen of sharing.

    Attributes:
        patterns: The pattern of each part by its name; of the whole by `""`.
        relax: How sites that share may differ, or None.
        width: The width of the model; None where none is chosen.
    """

    patterns: Mapping[str, SharingPattern]
    relax: Relaxation | None = None
    width: int | None = None

    @property
    def pattern(self) -> Any:
        """The pattern, or one for each part, as `SharedStack` takes it."""
        return self.patterns.get("", self.patterns)

    @property
    def is_shared(self) -> bool:
        """Whether any two sites share anything."""
        return any(p.num_groups < p.num_sites for p in self.patterns.values())

    def __str__(self) -> str:
        parts = [f"{n}={p}" if n else str(p) for n, p in self.patterns.items()]
        if self.relax is not None:
            parts.append(str(self.relax))
        if self.width is not None:
            parts.append(f"width {self.width}")
        return " ".join(parts)


def sharing_space(
    hp: kt.HyperParameters,
    num_sites: int | Mapping[str, int],
    name: str = "sharing",
    *,
    families: Iterable[str] | None = DESIGNS,
    max_groups: int | None = None,
    private_ends: bool = False,
    relax: Sequence[str] = RELAXATIONS,
    ranks: Sequence[int] = (2, 4, 8),
    widths: Sequence[int] = (),
    max_bytes: float | None = None,
    size_of: Callable[[SharingDesign], float] | None = None,
) -> SharingDesign | None:
    """Lets a tuner choose how a network shares, and how wide it is.

    Beside which sites share (`sharing_pattern`) these are how strictly they do, whether
    each part of the block shares otherwise, and the width. Under a budget of bytes the
    width is no choice of its own: each candidate is as wide as just fits, so that
    candidates that share much and ones that share nothing are compared at equal bytes.

    The families are those that the literature names. That each block runs twice or
    three times in a row (`"repeats"`, MobileLLM, arXiv 2402.14905) and that a run in
    the middle repeats (`"core"`, arXiv 2502.05171) comes first; `StartWith` of
    `keras_share.search.policies` makes a search begin with some.

    Args:
        hp: The `keras_tuner.HyperParameters` given to the build function.
        num_sites: Number of sites. Where blocks of several kinds repeat, or parts of a
            block share otherwise, that of each by its name, which gets a pattern of
            its own: `{"attention": 6, "feedforward": 6}`.
        name: Name of the pattern, and prefix of the other hyperparameters.
        families: What patterns are chosen from, as of `sharing_pattern`; None for all
            partitions.
        max_groups: At most this many groups.
        private_ends: Whether the first and the last site share with none.
        relax: Which relaxations to choose from, out of `"none"`, `"scale"` and
            `"low_rank"`.
        ranks: The ranks of `"low_rank"` to choose from; of narrower designs their
            width is taken.
        widths: The widths to choose from; empty for no choice.
        max_bytes: The budget under which the width is solved.
        size_of: Predicts the bytes of a design, with its width; needed for `max_bytes`.
            It is called a few times per candidate, so it should be quick, and it must
            not fall when the width grows.

    Returns:
        The design of the current trial. None in a `hp.conditional_scope` that is not
        active.

    Raises:
        ValueError: If an argument is none of these, or no pattern is left.

    Example:
    >>> import keras_tuner as kt
    >>> def size_of(design):
    ...     return design.pattern.num_groups * design.width**2
    >>> hp = kt.HyperParameters()
    >>> widths = range(8, 129, 8)
    >>> design = sharing_space(
    ...     hp, 6, widths=widths, max_bytes=10_000, size_of=size_of
    ... )
    >>> print(design)  # the first of all designs; wide, as it stores one block
    AAAAAA width 96
    """
    if not relax or set(relax) - set(RELAXATIONS):
        raise ValueError(
            f"`relax` must name relaxations out of {', '.join(RELAXATIONS)}. Received: "
            f"relax={relax!r}"
        )
    if max_bytes is not None and (not widths or size_of is None):
        raise ValueError(
            "`max_bytes` is what the width is solved for: it needs `widths` to choose "
            "from, and `size_of`, which predicts the bytes of a design. Received: "
            f"widths={widths!r}, size_of={size_of!r}. (SharingSearch(max_bytes=...) "
            "rejects what is too large.)"
        )
    whole = num_sites if isinstance(num_sites, Mapping) else {"": num_sites}
    names = {part: f"{name}_{part}" if part else name for part in whole}
    limits = families, max_groups, private_ends
    patterns = {
        part: sharing_pattern(hp, count, names[part], *limits)
        for part, count in whole.items()
    }
    relaxation = _relaxation(hp, name, relax, ranks)
    width = (
        hp.Choice(f"{name}.width", list(widths)) if widths and not max_bytes else None
    )
    known = {part: one for part, one in patterns.items() if one is not None}
    if not known:
        return None
    design = SharingDesign(known, None, width)
    if design.is_shared:
        design = replace(design, relax=relaxation)
    if widths and max_bytes is not None and size_of is not None:
        # The largest that fits; the smallest if none does.
        designs = [_at_width(design, width) for width in sorted(widths)]
        fitting = bisect_right(designs, max_bytes, key=size_of)
        return designs[max(fitting - 1, 0)]
    return _at_width(design, width)


def _at_width(design: SharingDesign, width: int | None) -> SharingDesign:
    """A design of this width, with no larger rank than a kernel of it can have."""
    relax = design.relax
    if isinstance(relax, LowRank) and width is not None:
        relax = LowRank(min(relax.rank, width))
    return replace(design, relax=relax, width=width)


def _relaxation(
    hp: kt.HyperParameters, name: str, relax: Sequence[str], ranks: Sequence[int]
) -> Relaxation | None:
    chosen, scope = relax[0], contextlib.nullcontext()
    if len(relax) > 1:
        chosen = hp.Choice(f"{name}.relax", list(relax))
        scope = hp.conditional_scope(f"{name}.relax", ["low_rank"])
    if "low_rank" in relax:
        with scope:
            rank = hp.Choice(f"{name}.rank", list(ranks))
        if chosen == "low_rank" and rank is not None:
            return LowRank(rank)
    return Scale() if chosen == "scale" else None
