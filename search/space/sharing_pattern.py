"""`sharing_pattern`: a pattern as a hyperparameter of a KerasTuner search."""

from collections.abc import Iterable

import keras_tuner as kt

from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.space import numbering
from keras_share.search.space.pattern_space import SUFFIX, PatternSpace


def sharing_pattern(
    hp: kt.HyperParameters,
    num_sites: int,
    name: str = "sharing",
    families: Iterable[str] | None = None,
    max_groups: int | None = None,
    private_ends: bool = False,
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
            `"middle_cycle"` stand for every number of groups, `"cycle:2"` for one of
            them; `"repeats"` for each block once, twice, three times in a row and so
            on, and `"core"` for every run of blocks that repeats. Equal patterns of
            different families count once. None for all partitions of the sites.
        max_groups: At most this many groups.
        private_ends: Whether the first and the last site share with none.

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
    patterns = PatternSpace(num_sites, max_groups, families, private_ends)
    _declare(hp, name + SUFFIX, str(patterns))
    integers = [
        # One possible pattern needs no search, and some tuners fail on a range of one.
        hp.Int(n, 0, most) if most else hp.Fixed(n, 0)
        for n, most in numbering.ranges(name, patterns).items()
    ]
    return None if integers[0] is None else numbering.pattern(patterns, *integers)


def patterns_of(hp: kt.HyperParameters) -> dict[str, SharingPattern]:
    """The patterns in a container of hyperparameters, by their names with scopes."""
    return numbering.patterns_from_values(hp.values)


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
