"""`sharing_pattern`: a pattern as a hyperparameter of a KerasTuner search."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras_tuner as kt

from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.space.pattern_space import SUFFIX, PatternSpace, pattern_spaces

# `hp.Int` turns a float of 53 random bits into an integer: more patterns than these
# are numbered by several integers of 40 bits.
_LARGEST_INT = 2**53
_DIGIT = 40
# So many more bits than patterns need make a draw as good as uniform.
_SPARE_BITS = 24


def sharing_pattern(
    hp: kt.HyperParameters,
    num_sites: int,
    name: str = "sharing",
    families: Iterable[str] | None = None,
    max_groups: int | None = None,
) -> SharingPattern | None:
    """Lets the tuner choose a `SharingPattern`.

    To be called where `hp.Int` and `hp.Choice` are: in the function that builds the
    model, with any tuner of KerasTuner. The choice is one integer hyperparameter with
    exactly one value per pattern: two ways to write the same sharing are never two
    values, and a random draw is uniform over patterns. (More than `2**53` patterns, as
    of 48 sites, take several integers, whose draws are uniform to within `2**-24`.)
    A further hyperparameter of fixed value, `"<name>.patterns"`, tells what the integer
    means to oracles in other processes.

    Args:
        hp: The `keras_tuner.HyperParameters` given to the build function.
        num_sites: Number of sites.
        name: Name of the hyperparameter.
        families: The patterns to choose from, as `SharingPattern.get` reads them.
            `"sequence"`, `"cycle"`, `"cycle_rev"`, `"middle_sequence"` and
            `"middle_cycle"` stand for every number of groups; `"cycle:2"` for one of
            them. Equal patterns of different families count once. None for all
            partitions of the sites.
        max_groups: At most this many groups.

    Returns:
        The pattern of the current trial. None in a `hp.conditional_scope` that is not
        active, like every hyperparameter of KerasTuner.

    Raises:
        ValueError: If a family is unknown, if no pattern is left, or if the values in
            `hp` were chosen from other patterns.

    Example:
    >>> import keras_tuner as kt
    >>> hp = kt.HyperParameters()
    >>> sharing_pattern(hp, num_sites=6, families=["cycle", "sequence"], max_groups=3)
    SharingPattern('AAAAAA')
    >>> list(hp.space[1].values)  # AAAAAA, AAABBB, ABABAB, AABBCC, ABCABC
    [0, 1, 2, 3, 4]
    """
    if families is not None:
        families = (families,) if isinstance(families, str) else tuple(families)
    patterns = PatternSpace(num_sites, max_groups, families)
    _declare(hp, name + SUFFIX, str(patterns))
    if patterns.count == 1:
        # One possible pattern needs no search, and some tuners fail on a range of one.
        digits = [hp.Fixed(name, 0)]
    elif patterns.count <= _LARGEST_INT:
        digits = [hp.Int(name, 0, patterns.count - 1)]
    else:
        digits = [hp.Int(n, 0, 2**_DIGIT - 1) for n in _digit_names(name, patterns)]
    return None if digits[0] is None else patterns.pattern(_index(patterns, digits))


def patterns_of(hp: kt.HyperParameters) -> dict[str, SharingPattern]:
    """The patterns in a container of hyperparameters; see `patterns_from_values`."""
    return patterns_from_values(hp.values)


def patterns_from_values(values: Mapping[str, Any]) -> dict[str, SharingPattern]:
    """The patterns among the values of a trial, by the name of their hyperparameter.

    Names carry their `hp.name_scope`.
    """
    return {
        name: patterns.pattern(
            _index(patterns, [values[n] for n in _digit_names(name, patterns)])
        )
        for name, patterns in pattern_spaces(values).items()
    }


def values_of_pattern(
    name: str, patterns: PatternSpace, pattern: SharingPattern
) -> dict[str, int]:
    """The values with which a trial gets a pattern, the first of equal ones."""
    index = patterns.index(pattern)
    names = _digit_names(name, patterns)
    if len(names) > 1:
        bits = _DIGIT * len(names)
        index = -(-(index << bits) // patterns.count)
    values = {}
    for n in reversed(names):
        values[n] = index % 2**_DIGIT if len(names) > 1 else index
        index >>= _DIGIT
    return values


def pattern_values(values: Mapping[str, Any]) -> set[str]:
    """The names of all hyperparameters that stand for patterns."""
    return {
        n
        for name, patterns in pattern_spaces(values).items()
        for n in (name + SUFFIX, *_digit_names(name, patterns))
    }


def _declare(hp: kt.HyperParameters, name: str, patterns: str) -> None:
    try:
        declared = hp.Fixed(name, patterns)
    except KeyError as missing:
        # The values were replaced by some without this one; the key is its full name.
        hp.values[missing.args[0]] = declared = patterns
    if declared not in (None, patterns):
        raise ValueError(
            "`sharing_pattern` must choose from the same patterns as when the values "
            f"of this trial were chosen. Received: {patterns} for {name!r}, with "
            f"values chosen from {declared}. Give the pattern another `name`, or start "
            "another project."
        )


def _digit_names(name: str, patterns: PatternSpace) -> list[str]:
    if patterns.count <= _LARGEST_INT:
        return [name]
    bits = patterns.count.bit_length() + _SPARE_BITS
    return [name, *(f"{name}.{i}" for i in range(2, -(-bits // _DIGIT) + 1))]


def _index(patterns: PatternSpace, digits: list[int]) -> int:
    if len(digits) == 1:
        return digits[0]
    number = 0
    for digit in digits:
        number = (number << _DIGIT) + digit
    # As a fraction of 1: the patterns are intervals of equal length.
    return number * patterns.count >> (_DIGIT * len(digits))
