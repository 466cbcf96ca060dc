"""Patterns as the integers that a search chooses."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.space.pattern_space import SUFFIX, PatternSpace, pattern_spaces

# Searches draw an integer by a float of 53 bits, and store it as one: more patterns
# than these are numbered by several integers of 40 bits.
_LARGEST = 2**53
_DIGIT = 40
# So many more bits than patterns need make a draw as good as uniform.
_SPARE_BITS = 24


def ranges(name: str, patterns: PatternSpace) -> dict[str, int]:
    """The integers that stand for a pattern, by name, and the most that each may be.

    Example:
    >>> ranges("sharing", PatternSpace(6))
    {'sharing': 202}
    """
    if patterns.count <= _LARGEST:
        return {name: patterns.count - 1}
    bits = patterns.count.bit_length() + _SPARE_BITS
    names = [name, *(f"{name}.{i}" for i in range(2, -(-bits // _DIGIT) + 1))]
    return dict.fromkeys(names, 2**_DIGIT - 1)


def pattern(patterns: PatternSpace, *integers: int) -> SharingPattern:
    """The pattern that integers stand for."""
    return _pattern(patterns, integers)


@lru_cache(maxsize=2**16)  # each proposal reads all trials
def _pattern(patterns: PatternSpace, integers: tuple[int, ...]) -> SharingPattern:
    if len(integers) == 1:
        return patterns.pattern(integers[0])
    number = 0
    for integer in integers:
        number = (number << _DIGIT) + integer
    # As a fraction of 1: the patterns are intervals of equal length.
    return patterns.pattern(number * patterns.count >> (_DIGIT * len(integers)))


def integers(
    name: str, patterns: PatternSpace, pattern: SharingPattern
) -> dict[str, int]:
    """The integers that stand for a pattern, by name; the first of equal ones."""
    index, names = patterns.index(pattern), list(ranges(name, patterns))
    if len(names) == 1:
        return {name: index}
    index = -(-(index << _DIGIT * len(names)) // patterns.count)
    found = {}
    for n in reversed(names):
        found[n] = index % 2**_DIGIT
        index >>= _DIGIT
    return found


def told_patterns(values: Mapping[str, Any]) -> dict[str, str]:
    """What the attributes of a trial tell of its patterns: see `suggest_pattern`."""
    spaces = {n: v for n, v in values.items() if n.endswith(SUFFIX)}
    patterns = patterns_from_values(values).items()
    return {**spaces, **{name: str(pattern) for name, pattern in patterns}}


def patterns_from_values(
    values: Mapping[str, Any], declared: Mapping[str, Any] | None = None
) -> dict[str, SharingPattern]:
    """The patterns of a trial by name, from the values of its hyperparameters.

    `declared` is what holds `"<name>.patterns"`; None for the values themselves.
    """
    spaces = pattern_spaces(values if declared is None else declared)
    names = {name: list(ranges(name, patterns)) for name, patterns in spaces.items()}
    return {
        name: pattern(patterns, *(values[n] for n in names[name]))
        for name, patterns in spaces.items()
        if all(n in values for n in names[name])
    }
