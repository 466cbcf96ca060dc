"""A sharing pattern as text."""

from collections.abc import Sequence

_COLUMNS = 80


def rows(groups: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Draws one row per group, with an `o` below the number of each of its sites.

    Dashes join the sites of a group, so that what is private stands alone. Patterns
    wider than 80 columns are cut into blocks of as many sites each; a block leaves out
    the groups without a site in it.

    Args:
        groups: The sites of each group, in ascending order.
        names: The name of each group.

    Example:
    >>> print(rows([(0, 2), (1,), (3, 4)], "ABC"))
    site 0 1 2 3 4
    A    o---o
    B      o
    C          o-o
    """
    num_sites = sum(map(len, groups))
    left = max(map(len, ["site", *names]))
    cell = len(str(num_sites - 1)) + 1
    num_blocks = -(-num_sites // ((_COLUMNS - left) // cell))
    size = -(-num_sites // num_blocks)
    lines = []
    for start in range(0, num_sites, size):
        sites = range(start, min(start + size, num_sites))
        numbers = "".join(f"{site:{cell}}" for site in sites)
        lines += ["", f"{'site':{left}}{numbers}"]
        for name, group in zip(names, groups, strict=True):
            if not set(group).isdisjoint(sites):
                marks = "".join(_cell(site, group, cell) for site in sites)
                lines.append(f"{name:{left}}{marks}".rstrip())
    return "\n".join(lines[1:])


def _cell(site: int, group: Sequence[int], width: int) -> str:
    first, last = group[0], group[-1]
    line = "-" if first < site <= last else " "
    return line * (width - 1) + ("o" if site in group else line)
