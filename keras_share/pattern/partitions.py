"""Set partitions as restricted growth strings: count, list, rank and unrank them.

A restricted growth string labels each element by its group, the groups numbered in
order of first appearance: `(0, 0, 1, 0)`. Each partition has exactly one such string
(Knuth, The Art of Computer Programming 4A, section 7.2.1.5). All numbers are exact
Python integers, and the order everywhere is lexicographic.
"""

from collections.abc import Iterator
from functools import cache


@cache
def _completions(remaining: int, used: int, max_groups: int) -> int:
    """Ways to label `remaining` more elements when `used` groups exist already."""
    # Bottom up in `remaining`: 10,000 sites must not hit the recursion limit.
    row = [1] * (used + remaining + 2)
    for _ in range(remaining):
        row = [
            m * row[m] + (row[m + 1] if m < max_groups else 0)
            for m in range(len(row) - 1)
        ]
    return row[used]


def count(n: int, max_groups: int) -> int:
    """Number of partitions of `n` elements into at most `max_groups` groups."""
    return _completions(n, 0, max_groups)


def strings(n: int, max_groups: int) -> Iterator[tuple[int, ...]]:
    """Every partition of `n` elements once, lazily."""
    labels = [0] * n
    while True:
        yield tuple(labels)
        # The next string: raise the last label that can be raised, zero the rest.
        for i in range(n - 1, 0, -1):
            highest = min(max(labels[:i]) + 1, max_groups - 1)
            if labels[i] < highest:
                labels[i:] = [labels[i] + 1] + [0] * (n - i - 1)
                break
        else:
            return


def unrank(index: int, n: int, max_groups: int) -> tuple[int, ...]:
    """The partition at position `index` of `strings(n, max_groups)`."""
    labels: list[int] = []
    used = 0
    for remaining in range(n - 1, -1, -1):
        # Each of the `used` groups leads to the same number of completions.
        same = _completions(remaining, used, max_groups)
        label, rest = divmod(index, same) if used else (0, index)
        if label >= used:
            label, rest = used, index - used * same
            used += 1
        labels.append(label)
        index = rest
    return tuple(labels)


def rank(labels: tuple[int, ...], max_groups: int) -> int:
    """The position of `labels` in `strings(len(labels), max_groups)`."""
    index = used = 0
    for remaining, label in zip(range(len(labels) - 1, -1, -1), labels, strict=True):
        index += label * _completions(remaining, used, max_groups)
        used = max(used, label + 1)
    return index
