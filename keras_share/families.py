"""The sharing patterns that the literature names, as labels.

Each function returns one group number per site. `N` is the number of sites, `G` that
of groups and `l` the index of a site, from 0.
"""

GROUPED_FAMILIES = ("sequence", "cycle", "cycle_rev")
FAMILIES = ("unshared", "shared", "sandwich", *GROUPED_FAMILIES)


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


def check_sites(num_sites: int) -> int:
    """Returns `num_sites`; raises ValueError unless it is an integer of at least 1."""
    if not isinstance(num_sites, int) or num_sites < 1:
        raise ValueError(
            f"`num_sites` must be an integer of at least 1. Received: {num_sites!r}"
        )
    return num_sites


def check_groups(num_groups: int, num_sites: int) -> None:
    """Raises ValueError unless `num_groups` is between 1 and `num_sites`."""
    if not isinstance(num_groups, int) or not 1 <= num_groups <= num_sites:
        raise ValueError(
            f"`num_groups` must be between 1 and num_sites ({num_sites}). "
            f"Received: num_groups={num_groups!r}"
        )
