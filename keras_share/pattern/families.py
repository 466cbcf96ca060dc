"""The sharing patterns that the literature names, as labels.

Each function returns one group number per site. `N` is the number of sites, `G` that
of groups and `l` the index of a site, from 0.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches

# Families that take any number of groups, from one to that of sites.
GROUPED_FAMILIES = ("sequence", "cycle", "cycle_rev")
# Families that take a number of groups, for the sites between first and last.
MIDDLE_FAMILIES = ("middle_sequence", "middle_cycle")
# Families that know their number of sites.
SIZED_FAMILIES = ("core", "repeats")
MOST_SITES = 4096  # of a network; a file that asks for more is not believed
FAMILIES = (
    "unshared",
    "shared",
    "sandwich",
    *SIZED_FAMILIES,
    *MIDDLE_FAMILIES,
    *GROUPED_FAMILIES,
)


def unshared(num_sites: int) -> list[int]:
    """Every site has weights of its own: the plain network."""
    return list(range(check_sites(num_sites)))


def shared(num_sites: int) -> list[int]:
    """All sites share: ALBERT (1909.11942), Universal Transformer (1807.03819)."""
    return [0] * check_sites(num_sites)


def sandwich(num_sites: int) -> list[int]:
    """First and last site private, all between them shared: Subformer (2101.00234).

    `sandwich(5)` is `ABBBC`.
    """
    last = check_sites(num_sites) - 1
    return [min(site, 1) + (0 < site == last) for site in range(num_sites)]


def sequence(num_sites: int, num_groups: int) -> list[int]:
    """Contiguous groups: site `l` uses group `floor(l * G / N)`.

    This is ALBERT's map from layer to group (`num_hidden_groups`, arXiv 1909.11942);
    pairs are MobileLLM's (2402.14905). Where `G` does not divide `N`, groups differ by
    at most one site: `sequence(5, 2)` is `AAABB`. (Takase & Kiyono, 2104.06022, start a
    group every `floor(N / G)` sites instead, which leaves more than `G` groups.)
    """
    check_groups(num_groups, check_sites(num_sites))
    return [site * num_groups // num_sites for site in range(num_sites)]


def cycle(num_sites: int, num_groups: int) -> list[int]:
    """Groups in turn: site `l` uses group `l mod G`.

    CYCLE of Takase & Kiyono (arXiv 2104.06022). Where `G` does not divide `N` the last
    round is cut short: `cycle(5, 2)` is `ABABA`.
    """
    check_groups(num_groups, check_sites(num_sites))
    return [site % num_groups for site in range(num_sites)]


def cycle_rev(num_sites: int, num_groups: int) -> list[int]:
    """A cycle whose last round runs backwards.

    CYCLE (REV) of Takase & Kiyono (arXiv 2104.06022): the first
    `G * (ceil(N / G) - 1)` sites cycle, the rest use group `G - 1 - (l mod G)`.
    `cycle_rev(6, 3)` is `ABCCBA`. Where `G` does not divide `N` the backward round is
    cut short: `cycle_rev(5, 3)` is `ABCCB`. With `G` = `N` nothing is shared.
    """
    check_groups(num_groups, check_sites(num_sites))
    rounds = -(-num_sites // num_groups)
    turn = num_groups * max(rounds - 1, 1)
    return [
        site % num_groups if site < turn else num_groups - 1 - site % num_groups
        for site in range(num_sites)
    ]


def middle_sequence(num_sites: int, num_groups: int) -> list[int]:
    """First and last site private, contiguous groups between them.

    Middle-Sequence of Mixture-of-Recursions (arXiv 2507.10524). `G` counts the groups
    between the ends, so that the pattern has `G + 2`: site 0 uses group 0, site `l`
    up to `N - 2` group `1 + floor((l - 1) * G / (N - 2))`, and site `N - 1` group
    `G + 1`. The paper gives the number of recursions instead, `N_r = (N - 2) / G`; its
    `floor((l - 1) / N_r) + 1` is the same. Where `G` does not divide `N - 2`, groups
    differ by at most one site, as in `sequence`: `middle_sequence(7, 2)` is `ABBBCCD`.
    """
    check_middle(num_groups, num_sites)
    return _between_ends(sequence(num_sites - 2, num_groups))


def middle_cycle(num_sites: int, num_groups: int) -> list[int]:
    """First and last site private, groups in turn between them.

    Middle-Cycle of Mixture-of-Recursions (arXiv 2507.10524), the best of that paper's
    four ways to share at equal size. `G` counts the groups between the ends, so that
    the pattern has `G + 2`: site 0 uses group 0, site `l` up to `N - 2` group
    `1 + (l - 1) mod G`, and site `N - 1` group `G + 1`. The paper gives the number of
    recursions instead, `N_r = (N - 2) / G`; its `((l - 1) mod ((N - 2) / N_r)) + 1`
    is the same. Where `G` does not divide `N - 2`, the last round is cut short, as in
    `cycle`: `middle_cycle(7, 2)` is `ABCBCBD`.
    """
    check_middle(num_groups, num_sites)
    return _between_ends(cycle(num_sites - 2, num_groups))


def core(prelude: int, core: int, repeats: int, coda: int) -> list[int]:
    """Private sites, a core that runs several times, private sites.

    Recurrent depth (Huginn, arXiv 2502.05171), there `(prelude, core, coda)` =
    (2, 4, 2) and any number of repeats. `N` is `prelude + core * repeats + coda`.
    Site `l` uses group `l` in the prelude, `prelude + (l - prelude) mod core` in the
    core, and `l - core * (repeats - 1)` in the coda: `core(1, 2, 3, 1)` is
    `ABCBCBCD`.
    """
    check_core(prelude, core, repeats, coda)
    end = prelude + core * repeats
    return [
        *range(prelude),
        *(prelude + (site - prelude) % core for site in range(prelude, end)),
        *range(prelude + core, prelude + core + coda),
    ]


def repeats(counts: Sequence[int]) -> list[int]:
    """Each group repeated in place: group `g` has `counts[g]` sites.

    Twice each is MobileLLM's immediate block-wise sharing (arXiv 2402.14905); a count
    per group says where the depth goes. `N` is the sum of the counts, and site `l`
    uses the group `g` for which `sum(counts[:g]) <= l < sum(counts[:g + 1])`:
    `repeats((2, 1, 3))` is `AABCCC`.
    """
    check_counts(counts)
    return [group for group, count in enumerate(counts) for _ in range(count)]


def nearest(spec: str) -> str | None:
    """The family that a string names or misspells, None if it names none.

    A string misspells a family if its letters, in any case, are close to those of the
    name (`difflib.get_close_matches` at 0.7: one letter wrong in `"core"`, two in
    `"sandwich"`), whatever digits and signs are around them.

    >>> nearest("Shared"), nearest("sandwhich"), nearest("cycle-2"), nearest("AABB")
    ('shared', 'sandwich', 'cycle', None)
    """
    word = "_".join(re.findall("[a-z]+", spec.lower()))
    return next(iter(get_close_matches(word, FAMILIES, n=1, cutoff=0.7)), None)


def members(family: str, num_sites: int) -> list[str]:
    """The strings, for `from_spec`, of all patterns of so many sites in a family.

    A family with its numbers (`"cycle:2"`) is itself alone. Of `"repeats"` these are
    the ones that repeat as evenly as it goes.

    >>> members("middle_cycle", 5)
    ['middle_cycle:1', 'middle_cycle:2', 'middle_cycle:3']
    """
    if family in GROUPED_FAMILIES:
        return [f"{family}:{groups}" for groups in range(1, num_sites + 1)]
    if family in MIDDLE_FAMILIES:
        return [f"{family}:{groups}" for groups in range(1, num_sites - 1)]
    if family == "repeats":
        times = range(1, num_sites + 1)
        return [f"sequence:{-(-num_sites // count)}" for count in times]
    if family == "core":
        return [
            f"core:{prelude},{core},{times},{num_sites - prelude - core * times}"
            for core in range(1, num_sites // 2 + 1)
            for times in range(2, num_sites // core + 1)
            for prelude in range(num_sites - core * times + 1)
        ]
    return [family]


def from_spec(spec: str, num_sites: int | None = None) -> list[int]:
    """The labels of a family and its numbers in a string, such as `"cycle:2"`.

    Args:
        spec: The name of a family, a colon and the numbers that it takes:
            `"shared"`, `"cycle:2"`, `"core:1,2,3,1"`, `"repeats:2,1,3"`.
        num_sites: Number of sites. Needed unless the family knows it.

    Raises:
        ValueError: If there is no such family, or its numbers don't fit.
    """
    family, _, argument = spec.partition(":")
    if family not in FAMILIES:
        meant = nearest(spec)
        hint = f"Did you mean {meant!r}? " if meant else ""
        raise ValueError(
            f"Unknown family of patterns. {hint}Known: {', '.join(FAMILIES)}. (Labels "
            "in a string, one per site as in 'AABB', must not come close to one of "
            f"these names.) Received: {spec!r}"
        )
    argument = re.sub(r"\s*,\s*", ",", argument.strip())
    form, rule = _argument(family)
    if not re.fullmatch(form, argument):
        raise ValueError(f"The family {family!r} {rule}. Received: {spec!r}")
    numbers = [int(number) for number in argument.split(",") if number]
    if family == "core":
        return core(*numbers)
    if family == "repeats":
        return repeats(numbers)
    if num_sites is None:
        raise ValueError(
            f"`num_sites` is needed to build the pattern {spec!r}: pass it, or "
            "give one label per site, for example 'AABB'."
        )
    return globals()[family](num_sites, *numbers)


def _argument(family: str) -> tuple[str, str]:
    """What follows the name of a family: as an expression, and in words."""
    if family == "core":
        return r"\d+(,\d+){3}", (
            "needs four numbers, prelude, core, repeats and coda, for example "
            "'core:1,2,3,1'"
        )
    if family == "repeats":
        return r"\d+(,\d+)*", (
            "needs a number of repeats for each group, for example 'repeats:2,1,3'"
        )
    if family in (*MIDDLE_FAMILIES, *GROUPED_FAMILIES):
        return r"\d+", f"needs a number of groups, for example '{family}:2'"
    return "", "takes no number of groups"


def _between_ends(middle: list[int]) -> list[int]:
    return [0, *(group + 1 for group in middle), max(middle) + 2]


def check_sites(num_sites: int) -> int:
    """Returns `num_sites`; raises ValueError unless it is from 1 to `MOST_SITES`."""
    if not isinstance(num_sites, int) or not 1 <= num_sites <= MOST_SITES:
        raise ValueError(
            f"`num_sites` must be an integer of at least 1, and at most {MOST_SITES}. "
            f"Received: {num_sites!r}"
        )
    return num_sites


def check_groups(num_groups: int, num_sites: int) -> None:
    """Raises ValueError unless `num_groups` is between 1 and `num_sites`."""
    if not isinstance(num_groups, int) or not 1 <= num_groups <= num_sites:
        raise ValueError(
            f"`num_groups` must be between 1 and num_sites ({num_sites}). "
            f"Received: num_groups={num_groups!r}"
        )


def check_middle(num_groups: int, num_sites: int) -> None:
    """Raises ValueError unless `num_groups` fit between a first and a last site."""
    if check_sites(num_sites) < 3:
        raise ValueError(
            "`num_sites` must be at least 3, of which the first and the last share "
            f"nothing. Received: num_sites={num_sites}"
        )
    if not isinstance(num_groups, int) or not 1 <= num_groups <= num_sites - 2:
        raise ValueError(
            "`num_groups`, which leaves out the first and the last site, must be "
            f"between 1 and num_sites - 2 ({num_sites - 2}). "
            f"Received: num_groups={num_groups!r}"
        )


def check_core(prelude: int, core: int, repeats: int, coda: int) -> None:
    """Raises ValueError unless the core has a site and runs at least once."""
    for name, value, least in (
        ("prelude", prelude, 0),
        ("core", core, 1),
        ("repeats", repeats, 1),
        ("coda", coda, 0),
    ):
        if not isinstance(value, int) or value < least:
            raise ValueError(
                f"`{name}` must be an integer of at least {least}. "
                f"Received: {name}={value!r}"
            )


def check_counts(counts: Sequence[int]) -> None:
    """Raises ValueError unless `counts` are integers of at least 1."""
    fits = isinstance(counts, Sequence) and all(
        isinstance(count, int) and count >= 1 for count in counts
    )
    if not fits or not counts:
        raise ValueError(
            "`counts` must have one integer of at least 1 for each group, for example "
            f"(2, 1, 3). Received: counts={counts!r}"
        )
