"""Ways to write a pattern of 6 sites as hyperparameters of a stock search."""

from collections.abc import Callable

import keras_tuner as kt

from keras_share import SharingPattern
from keras_share.search import sharing_pattern

NUM_SITES = 6


def rank(hp: kt.HyperParameters) -> SharingPattern:
    """`sharing_pattern`: one integer, one value per partition."""
    return sharing_pattern(hp, NUM_SITES)


def labels(hp: kt.HyperParameters) -> SharingPattern:
    """A group number for each site, no larger than the number of sites before it."""
    ids = [hp.Int(f"site_{site}", 0, site) for site in range(1, NUM_SITES)]
    return SharingPattern([0, *ids])


def ties(hp: kt.HyperParameters) -> SharingPattern:
    """Whether each site is tied to the one before it: 32 contiguous patterns."""
    group, found = 0, [0]
    for site in range(1, NUM_SITES):
        group += not hp.Boolean(f"tie_{site}")
        found.append(group)
    return SharingPattern(found)


def families(hp: kt.HyperParameters) -> SharingPattern:
    """A family of patterns and its number of groups."""
    family = hp.Choice("family", ["sequence", "cycle", "cycle_rev"])
    groups = hp.Int("groups", 1, NUM_SITES)
    return SharingPattern.get(f"{family}:{groups}", NUM_SITES)


Encoding = Callable[[kt.HyperParameters], SharingPattern]
ENCODINGS: dict[str, Encoding] = {
    encoding.__name__: encoding for encoding in (rank, labels, ties, families)
}
