"""Which site of a stack uses which weights, and where they are stored."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras

from keras_share.layers.components import components_by_weight
from keras_share.layers.private import private_variables
from keras_share.layers.relax.relaxed import Relaxed
from keras_share.layers.tied import block_of, site_weights

if TYPE_CHECKING:
    from keras_share.layers.shared_stack import SharedStack
    from keras_share.pattern.sharing_pattern import SharingPattern

BLOCK, REST, PRIVATE = "block", "rest", "private"
# A table of more sites than a terminal has lines is folded.
_LONG = 24


@dataclass(frozen=True)
class SharingRow:
    """What one site of a stack uses of one part of its block.

    Attributes:
        site: The site.
        part: A part with a pattern of its own; `"block"` where whole blocks share;
            `"rest"` for what no named part has; `"private"` for what each site keeps
            for itself, relaxations included. No weight is in two parts.
        group: The group of the site in the pattern of the part; the site itself where
            nothing is shared.
        name: The name of this group, as in `SharingPattern.names`; empty for
            `"rest"` and `"private"`.
        params: How many parameters the site uses.
        stored: How many of them no earlier site uses: those that are stored here.
        layer: The name of the block that the site runs.
    """

    site: int
    part: str
    group: int
    name: str
    params: int
    stored: int
    layer: str


@dataclass(frozen=True)
class SharingTotals:
    """Numbers of parameters of a stack.

    Attributes:
        stored: Those that there are, `stack.count_params()`.
        private: Those among them that one site keeps for itself.
        unshared: Those of as many separate blocks, without relaxations.
    """

    stored: int
    private: int
    unshared: int

    @property
    def ratio(self) -> float:
        """What is stored, in units of what separate blocks would."""
        return self.stored / self.unshared if self.unshared else 1.0

    def __str__(self) -> str:
        return (
            f"{self.stored:,} parameters stored, {self.unshared:,} if nothing were "
            f"shared (ratio {self.ratio:.3g}); {self.private:,} private"
        )


def sharing_rows(stack: "SharedStack") -> list[SharingRow]:
    """One row for each site and part, in this order.

    Every site has a row for each named part, and for the rest and what is private
    where any site has some.

    Args:
        stack: A built stack.

    Raises:
        ValueError: If `stack` is not built.

    Example:
    >>> import keras, keras_share
    >>> stack = keras_share.SharedStack(keras.layers.Dense(8), "ABA", private="bias")
    >>> stack.build((None, 8))
    >>> [(r.site, r.part, r.name, r.params, r.stored) for r in stack.sharing()][-2:]
    [(2, 'block', 'A', 64, 0), (2, 'private', '', 8, 8)]
    """
    if not stack.built:
        raise ValueError(
            f"'{stack.name}' has no weights yet. Build it first: call it on data or "
            "put it into a model with an Input."
        )
    patterns = part_patterns(stack)
    parts = [*patterns, REST, PRIVATE]
    known: set[int] = set()
    rows: list[list[SharingRow]] = []
    for site, layer in enumerate(stack.sites):
        block = block_of(layer)
        params, stored = [0] * len(parts), [0] * len(parts)
        for part, variable in zip(
            _parts(stack, block), site_weights(layer), strict=True
        ):
            params[part] += _size(variable)
            if id(variable) not in known:
                stored[part] += _size(variable)
                known.add(id(variable))
        groups = [(p.labels[site], p.names[site]) for p in patterns.values()]
        groups += [(site, "")] * 2
        rows.append(
            [
                SharingRow(site, part, *group, params[i], stored[i], block.name)
                for i, (part, group) in enumerate(zip(parts, groups, strict=True))
            ]
        )
    kept = [
        part
        for part in range(len(parts))
        if part < len(patterns) or any(row[part].params for row in rows)
    ]
    return [row[part] for row in rows for part in kept]


def sharing_totals(stack: "SharedStack") -> SharingTotals:
    """The sums over a built stack.

    Raises:
        ValueError: If `stack` is not built.
    """
    rows = sharing_rows(stack)
    return SharingTotals(
        stored=sum(row.stored for row in rows),
        private=sum(row.stored for row in rows if row.part == PRIVATE),
        unshared=sum(
            _size(v) for site in stack.sites for v in _bare(block_of(site)).weights
        ),
    )


def sharing_summary(stack: "SharedStack") -> Iterator[str]:
    """The lines of a table of the sites, the totals, and a drawing of each pattern.

    A site's number stands where the weights are stored; a ditto mark (`"`) where the
    site uses those of an earlier one of its group. In stacks of more than 24 sites, a
    line stands for those that repeat the ones above.

    Raises:
        ValueError: If `stack` is not built.
    """
    rows = sharing_rows(stack)
    columns = len(rows) // len(stack.sites)
    sites = [rows[i : i + columns] for i in range(0, len(rows), columns)]
    yield (
        f"{stack.name}: patterns of {', '.join(stack.patterns)}"
        if stack.patterns
        else f"{stack.name}: pattern {stack.pattern}"
    )
    yield from _table(sites)
    yield ""
    yield str(sharing_totals(stack))
    for part, pattern in part_patterns(stack).items():
        if stack.patterns:
            yield ""
            yield f"{part}: {pattern}"
        if pattern.num_groups < pattern.num_sites:
            yield ""
            yield from pattern.draw().split("\n")


def part_patterns(stack: "SharedStack") -> "dict[str, SharingPattern]":
    """The pattern of each part that has one, or that of whole blocks."""
    return stack.patterns or {BLOCK: stack.pattern}


def _bare(block: keras.Layer) -> keras.Layer:
    return block.inner_layer() if isinstance(block, Relaxed) else block


def _parts(stack: "SharedStack", block: keras.Layer) -> Iterator[int]:
    """For each weight of a block, the number of its part."""
    names = list(stack.patterns)
    rest = len(part_patterns(stack))
    private = {id(v) for v in private_variables(block, stack.private)}
    named = components_by_weight(block, names)
    for variable in block.weights:
        if id(variable) in private:
            yield rest + 1
        elif variable in named:
            yield names.index(named[variable])
        else:
            yield rest if names else 0


def _size(variable: keras.Variable) -> int:
    return math.prod(variable.shape)


def _table(sites: Sequence[Sequence[SharingRow]]) -> Iterator[str]:
    columns = list(zip(*sites, strict=True))
    parts = [column[0].part for column in columns]
    sums = [f"{sum(row.stored for row in column):,}" for column in columns]
    widths = [
        max(len(part), max(len(row.name) for row in column) + 1 + len(total))
        for part, column, total in zip(parts, columns, sums, strict=True)
    ]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))

    def cell(row: SharingRow, width: int) -> str:
        number = '"' if row.params and not row.stored else f"{row.stored:,}"
        return f"{row.name}{number:>{width - len(row.name)}}"

    lines = [
        f"{line(list(map(cell, site, widths)))}  {site[0].layer}" for site in sites
    ]
    yield f"site  {line(parts)}  layer"
    yield from _numbered(lines)
    yield f" sum  {line(sums)}"


def _numbered(lines: Sequence[str]) -> Iterator[str]:
    """Puts the number of its site before each line, or one line for repetitions."""
    site = 0
    while site < len(lines):
        length, times = _repetition(lines[site:]) if len(lines) > _LONG else (1, 1)
        for _ in range(length):
            yield f"{site:>4}  {lines[site]}"
            site += 1
        if times > 1:
            above = f"{site - length}-{site - 1}" if length > 1 else f"{site - 1}"
            end = site + length * (times - 1)
            yield f"{site}-{end - 1} as {above}, {times - 1} times"
            site = end


def _repetition(lines: Sequence[str]) -> tuple[int, int]:
    """Length and number of the repetitions at the start that cover most lines."""
    best = (1, 1)
    for length in range(1, len(lines) // 2 + 1):
        times = 1
        while lines[times * length : (times + 1) * length] == lines[:length]:
            times += 1
        if times > 1 and length * times > best[0] * best[1]:
            best = (length, times)
    return best
