"""`sharing_pattern`: a pattern as one hyperparameter of a KerasTuner search."""

import copy
import weakref
from collections.abc import Iterable

import keras_tuner as kt

from keras_share.families import FAMILIES, GROUPED_FAMILIES, MIDDLE_FAMILIES
from keras_share.pattern import SharingPattern

# `hp.Int` turns a float of 53 random bits into an integer.
_LARGEST_SPACE = 2**53

# A tuner wants to show patterns, and a hyperparameter holds only an index whose
# meaning depends on the arguments of `sharing_pattern`. Each call leaves its result
# here under the container of the trial, so nobody has to decode the index again; the
# entry goes when the container does.
_Patterns = dict[str, SharingPattern]
_PATTERNS: weakref.WeakKeyDictionary[kt.HyperParameters, _Patterns] = (
    weakref.WeakKeyDictionary()
)


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
    values, and a random draw is uniform over patterns.

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
        ValueError: If a family is unknown, if no pattern is left, or if there are
            more than `2**53` patterns.

    Example:
    >>> import keras_tuner as kt
    >>> hp = kt.HyperParameters()
    >>> sharing_pattern(hp, num_sites=6, families=["cycle", "sequence"], max_groups=3)
    SharingPattern('AAAAAA')
    >>> list(hp.space[0].values)  # AAAAAA, AAABBB, ABABAB, AABBCC, ABCABC
    [0, 1, 2, 3, 4]
    """
    if families is None:
        count = SharingPattern.count(num_sites, max_groups)
        _check_count(count, num_sites, max_groups)
    else:
        choices = _family_patterns(families, num_sites, max_groups)
        count = len(choices)

    # One possible pattern needs no search, and some tuners fail on a range of one.
    index = hp.Int(name, 0, count - 1) if count > 1 else hp.Fixed(name, 0)

    patterns = _PATTERNS.setdefault(hp, {})
    if index is None:
        patterns.pop(_scoped(hp, name), None)
        return None
    pattern = (
        SharingPattern.from_rank(index, num_sites, max_groups)
        if families is None
        else choices[index]
    )
    patterns[_scoped(hp, name)] = pattern
    return pattern


def patterns_of(hp: kt.HyperParameters) -> dict[str, SharingPattern]:
    """The patterns that `sharing_pattern` chose for `hp`, by hyperparameter name.

    Names carry their `hp.name_scope`. Empty until the model is built: a container
    read back from disk knows its patterns once its model is built again.
    """
    return dict(_PATTERNS.get(hp, {}))


def _check_count(count: int, num_sites: int, max_groups: int | None) -> None:
    if count > _LARGEST_SPACE:
        raise ValueError(
            "There must be at most 2**53 patterns to choose from, because KerasTuner "
            f"draws an integer through a float. Received: num_sites={num_sites}, "
            f"max_groups={max_groups} with {count} patterns. Restrict them with "
            f"`max_groups`, or with `families` (any of {', '.join(FAMILIES)})."
        )


def _family_patterns(
    families: Iterable[str], num_sites: int, max_groups: int | None
) -> list[SharingPattern]:
    """The distinct patterns of `families`, few groups first.

    The order depends on the set of patterns alone, so that the index of a resumed
    search means the same although the families are named in another order.
    """
    families = [families] if isinstance(families, str) else list(families)
    SharingPattern.count(num_sites, max_groups)  # raises what they must satisfy
    limit = min(max_groups or num_sites, num_sites)
    found = set()
    for family in families:
        kind, _, argument = str(family).partition(":")
        if kind not in FAMILIES:
            raise ValueError(
                f"`families` must be names out of {', '.join(FAMILIES)}, the last "
                f"{len(MIDDLE_FAMILIES + GROUPED_FAMILIES)} optionally with a number "
                f"of groups ('cycle:2'). Received: {family!r}"
            )
        if kind in GROUPED_FAMILIES and not argument:
            specs = [f"{kind}:{groups}" for groups in range(1, limit + 1)]
        elif kind in MIDDLE_FAMILIES and not argument:
            specs = [f"{kind}:{groups}" for groups in range(1, num_sites - 1)]
        else:
            specs = [family]
        found.update(SharingPattern.get(spec, num_sites) for spec in specs)
    patterns = [pattern for pattern in found if pattern.num_groups <= limit]
    if not patterns:
        raise ValueError(
            "`families` and `max_groups` must leave at least one pattern. Received: "
            f"families={families!r}, max_groups={max_groups}, num_sites={num_sites}. "
            "Add a family or raise `max_groups`."
        )
    return sorted(patterns, key=lambda pattern: (pattern.num_groups, pattern))


def _scoped(hp: kt.HyperParameters, name: str) -> str:
    """`name` with the name scopes that are open in `hp`.

    KerasTuner tells the full name only of a new hyperparameter; on a copy one may be
    added without adding it to the search.
    """
    probe = copy.deepcopy(hp)
    probe.Fixed("\0", 0)
    return probe.space[-1].name.removesuffix("\0") + name
