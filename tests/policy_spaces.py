"""Search spaces for the tests of policies."""

import keras_tuner as kt

from keras_share.search import sharing_pattern
from keras_share.search.policies import ValueSpace


def patterns_only(num_sites=4, **kwargs):
    hp = kt.HyperParameters()
    sharing_pattern(hp, num_sites, **kwargs)
    return ValueSpace(hp.space)


def mixed():
    """Two patterns, numbers, choices, and what is active only sometimes."""
    hp = kt.HyperParameters()
    sharing_pattern(hp, 6, name="attention")
    with hp.name_scope("decoder"):
        sharing_pattern(hp, 5, name="ffn", families=["cycle", "sequence"])
    hp.Int("width", 8, 64, step=8)
    hp.Float("rate", 1e-4, 1e-1, sampling="log")
    hp.Choice("activation", ["relu", "gelu", "tanh"])
    hp.Choice("depth", [2, 4, 8])
    hp.Fixed("classes", 10)
    relax = hp.Choice("relax", ["none", "low_rank"])
    with hp.conditional_scope("relax", ["low_rank"]):
        assert relax == "none"
        hp.Int("rank", 1, 16, sampling="log")
    return ValueSpace(hp.space)


def small():
    """A space of 2 * 5 + 15 points, conditional."""
    hp = kt.HyperParameters()
    hp.Choice("kind", ["stack", "plain"])
    with hp.conditional_scope("kind", ["stack"]):
        sharing_pattern(hp, 4)
    with hp.conditional_scope("kind", ["plain"]):
        hp.Int("width", 1, 5)
        hp.Boolean("bias")
    return ValueSpace(hp.space)
