"""`suggest_pattern`: a pattern as a parameter of an Optuna trial."""

from collections.abc import Iterable

from optuna.trial import BaseTrial

from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.space import numbering
from keras_share.search.space.pattern_space import SUFFIX, PatternSpace


def suggest_pattern(
    trial: BaseTrial,
    num_sites: int,
    name: str = "sharing",
    families: Iterable[str] | None = None,
    max_groups: int | None = None,
) -> SharingPattern:
    """Suggests a `SharingPattern` for an Optuna trial.

    To be called where `trial.suggest_int` is, with any sampler; `SharingSampler` knows
    what it means. The choice is one integer parameter with exactly one value per
    pattern, as of `sharing_pattern`. (More than `2**53` patterns, as of 48 sites, take
    several integers, whose draws are uniform to within `2**-24`.) Two attributes of the
    trial tell what it is: `"<name>.patterns"` the patterns to choose from, and `name`
    the pattern, as dashboards and `study.trials_dataframe()` show it.

    Args:
        trial: The trial, given to the objective or from `study.ask()`. It may also be
            one of the past, or an `optuna.trial.FixedTrial`, to build its model again.
        num_sites: Number of sites.
        name: Name of the parameter, another one for each pattern of a trial.
        families: The patterns to choose from, as of `sharing_pattern`; None for all
            partitions of the sites.
        max_groups: At most this many groups.

    Returns:
        The pattern of the trial.

    Raises:
        ValueError: If a family is unknown, if no pattern is left, or if the trial chose
            from other patterns.

    Example:
    >>> import optuna
    >>> trial = optuna.trial.FixedTrial({"sharing": 3})
    >>> suggest_pattern(trial, num_sites=6, families=["cycle", "sequence"])
    SharingPattern('AABBCC')
    """
    patterns = PatternSpace(num_sites, max_groups, families)
    declared = trial.user_attrs.get(name + SUFFIX)
    if declared is None:
        # Before the integers, as the sampler must know what they are.
        trial.set_user_attr(name + SUFFIX, str(patterns))
    elif declared != str(patterns):
        raise ValueError(
            "`suggest_pattern` must choose from the same patterns each time that it is "
            f"called for a trial. Received: {patterns} for {name!r} of a trial that "
            f"chose from {declared}. Give the pattern another `name`."
        )
    integers = [
        trial.suggest_int(n, 0, most)
        for n, most in numbering.ranges(name, patterns).items()
    ]
    pattern = numbering.pattern(patterns, *integers)
    if declared is None:
        trial.set_user_attr(name, str(pattern))
    return pattern
