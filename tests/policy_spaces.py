"""Search spaces for the tests of policies."""

from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from keras_share.search.policies import ValueSpace
from keras_share.search.policies.conditions import Unless
from keras_share.search.space import numbering
from keras_share.search.space.pattern_space import PatternSpace


def space(patterns, conditions=None, **distributions):
    """A space of patterns, and other parameters after them."""
    integers = {
        name: IntDistribution(0, most)
        for pattern, among in patterns.items()
        for name, most in numbering.ranges(pattern, among).items()
    }
    return ValueSpace({**integers, **distributions}, patterns, conditions)


def patterns_only(num_sites=4, **kwargs):
    return space({"sharing": PatternSpace(num_sites, **kwargs)})


def mixed():
    """Two patterns, numbers, choices, and what is active only sometimes."""
    return space(
        {
            "attention": PatternSpace(6),
            "decoder/ffn": PatternSpace(5, families=["cycle", "sequence"]),
        },
        {"rank": [Unless("relax", frozenset({"'none'"}))]},
        width=IntDistribution(8, 64, step=8),
        rate=FloatDistribution(1e-4, 1e-1, log=True),
        activation=CategoricalDistribution(["relu", "gelu", None]),
        depth=CategoricalDistribution([2, 4, 8]),
        classes=CategoricalDistribution([10]),
        relax=CategoricalDistribution(["none", "low_rank"]),
        rank=IntDistribution(1, 16, log=True),
    )


def small():
    """A space of 2 * 5 + 15 points, conditional."""
    kind = CategoricalDistribution(["stack", "plain"])
    is_plain = [Unless("kind", frozenset({"'stack'"}))]
    is_stack = [Unless("kind", frozenset({"'plain'"}))]
    return ValueSpace(
        {
            "kind": kind,
            "sharing": IntDistribution(0, 14),
            "width": IntDistribution(1, 5),
            "bias": CategoricalDistribution([False, True]),
        },
        {"sharing": PatternSpace(4)},
        {"sharing": is_stack, "width": is_plain, "bias": is_plain},
    )
