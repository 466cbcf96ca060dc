"""Finding the blocks that repeat in a list of items that feed each other."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Item:
    """What is known of one item of the list.

    Attributes:
        token: Equal for items that may correspond in two repetitions.
        inputs: Positions of the items that feed it, all of them earlier.
        counts: Whether it is worth finding: a block has at least one such item, and
            had better begin with one.
    """

    token: Hashable
    inputs: tuple[int, ...] = ()
    counts: bool = True


def find_repeats(items: Sequence[Item]) -> list[list[range]]:
    """Finds blocks of items that repeat, and all sites of each.

    A block is found by repetitions that follow and feed one another. Of several that
    overlap, the one that repeats most often in a row is taken, then the one that
    covers most, then the one with the fewest tensors across its borders (which puts
    the borders of a residual block where its author had them). Whatever equals it
    elsewhere in the list is a site as well. What is left is searched again.

    Returns:
        For each block the positions of each of its sites, in order.
    """
    left = list(items)
    found = []
    while (row := _longest_row(left)) is not None:
        sites = _sites(left, row)
        found.append(sites)
        for site in sites:
            for i in site:
                left[i] = replace(left[i], token=object())  # equals nothing
    return sorted(found, key=lambda sites: sites[0].start)


def _longest_row(items: list[Item]) -> list[range] | None:
    """The best repetition of a block in a row: its sites, at least two."""
    rows = [row for row in _rows(items) if len(row) > 1]
    if not rows:
        return None
    most = max(_extent(items, row) for row in rows)
    rows = [row for row in rows if _extent(items, row) == most]
    return max(rows, key=lambda row: _fitness(items, row))


def _rows(items: list[Item]) -> Iterator[list[range]]:
    for period in range(1, len(items) // 2 + 1):
        agreeing = 0  # items from `start` on that equal those one period later
        for start in reversed(range(len(items) - period)):
            same = items[start].token == items[start + period].token
            agreeing = agreeing + 1 if same else 0
            if agreeing >= period and any(
                item.counts for item in items[start : start + period]
            ):
                yield _row(items, start, period)


def _row(items: list[Item], start: int, period: int) -> list[range]:
    row = [range(start, start + period)]
    form = _form(items, row[0])
    while (stop := row[-1].stop + period) <= len(items):
        site = range(row[-1].stop, stop)
        fed = any(j in row[-1] for i in site for j in items[i].inputs)
        if not fed or _form(items, site) != form:
            break
        row.append(site)
    return row


def _form(items: list[Item], site: range) -> list[tuple[Hashable, tuple[int, ...]]]:
    """A block as such, wherever it stands: what feeds it from outside is numbered."""
    outside: dict[int, int] = {}

    def position(j: int) -> int:
        inside = j in site
        return j - site.start if inside else -1 - outside.setdefault(j, len(outside))

    return [(items[i].token, tuple(map(position, items[i].inputs))) for i in site]


def _extent(items: list[Item], row: list[range]) -> tuple[int, int, int]:
    counting = sum(items[i].counts for i in row[0])
    return len(row), len(row) * counting, -len(row[0])


def _fitness(items: list[Item], row: list[range]) -> tuple[int, bool, int]:
    crossing = {
        (site, j)
        for site in row
        for i, item in enumerate(items)
        for j in item.inputs
        if (i in site) != (j in site)
    }
    return -len(crossing), items[row[0].start].counts, -row[0].start


def _sites(items: list[Item], row: list[range]) -> list[range]:
    """The sites of a row and those that equal them elsewhere, in order."""
    period = len(row[0])
    form = _form(items, row[0])
    taken = {i for site in row for i in site}
    sites = list(row)
    start = 0
    while start + period <= len(items):
        site = range(start, start + period)
        if taken.isdisjoint(site) and _form(items, site) == form:
            sites.append(site)
            start += period
        else:
            start += 1
    return sorted(sites, key=lambda site: site.start)
