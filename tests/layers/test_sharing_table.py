"""Rows and totals against formulas, in every mode; the text of a summary."""

from itertools import product

import keras
import pytest
from keras import layers

from keras_share import (
    Basis,
    LowRank,
    SharedStack,
    SharingPattern,
    StepEmbedding,
    Templates,
    Tied,
)
from keras_share.layers.sharing_table import SharingRow, SharingTotals, sharing_totals

PATTERNS = [p for n in range(1, 5) for p in SharingPattern.all(n)]


def block():
    """A kernel of 64, a bias of 8, and a normalization of 32."""
    return keras.Sequential([layers.Dense(8), layers.BatchNormalization()], name="b")


def built(*args, **kwargs):
    stack = SharedStack(*args, name="stack", **kwargs)
    stack.build((None, 8))
    return stack


def table(stack):
    """By part, the triple of each site: name of the group, parameters used, stored."""
    found = {}
    for row in stack.sharing():
        assert row.site == len(found.setdefault(row.part, []))
        found[row.part].append((row.name, row.params, row.stored))
    stored = sum(row.stored for row in stack.sharing())
    assert stored == stack.count_params() == sharing_totals(stack).stored
    return found


def uses(pattern, size):
    """`size` parameters stored by the first site of each group."""
    firsts = {group[0] for group in pattern.groups}
    return [
        (name, size, size * (site in firsts)) for site, name in enumerate(pattern.names)
    ]


def own(sizes):
    return [("", size, size) for size in sizes]


@pytest.mark.parametrize(
    "private, size",
    [
        (None, 0),
        ("normalization", 32),
        ("bias", 8),
        (["normalization", "bias"], 40),
        (lambda v: True, 104),
    ],
)
def test_patterns_of_blocks(private, size):
    for pattern in PATTERNS:
        stack = built(block, pattern, private=private)
        expected = {"block": uses(pattern, 104 - size)}
        if size:
            expected["private"] = own([size] * len(pattern))
        assert table(stack) == expected
        assert sharing_totals(stack) == SharingTotals(
            stored=(104 - size) * pattern.num_groups + size * len(pattern),
            private=size * len(pattern),
            unshared=104 * len(pattern),
        )


@pytest.mark.parametrize(
    "relax, extra, shared",
    [
        (LowRank(2), 32, 0),
        ([LowRank(1), StepEmbedding()], 24, 0),
        (Templates(3, seed=0), 3, 128),
        (Basis(2), 16, 16 - 64),
    ],
    ids=["low rank", "two", "templates", "basis"],
)
def test_relaxed_patterns(relax, extra, shared):
    """`extra` private weights per site, `shared` more per group, where sites share."""
    for pattern in [p for p in PATTERNS if len(p) <= 3]:
        stack = built(block, pattern, relax=relax)
        relaxed = [len(pattern.groups[group]) > 1 for group in pattern.labels]
        sizes = [72 + shared * r for r in relaxed]
        firsts = {group[0] for group in pattern.groups}
        assert table(stack) == {
            "block": [
                (name, size, size * (site in firsts))
                for site, (name, size) in enumerate(
                    zip(pattern.names, sizes, strict=True)
                )
            ],
            "private": own([32 + extra * r for r in relaxed]),
        }
        # Without sharing there would be no relaxation.
        assert sharing_totals(stack).unshared == 104 * len(pattern)


def parts():
    """Two parts of 72 and one of 72 + 32."""
    return keras.Sequential(
        [layers.Dense(8, name="one"), layers.Dense(8, name="two"), block()]
    )


@pytest.mark.parametrize("private, num_sites", [(None, 2), ("normalization", 3)])
def test_patterns_of_parts(private, num_sites):
    for one, two in product(SharingPattern.all(num_sites), repeat=2):
        stack = built(parts, {"one": one, "two": two}, private=private)
        rest = 104 if private is None else 72
        expected = {
            "one": uses(one, 72),
            "two": uses(two, 72),
            "rest": own([rest] * len(one)),
        }
        if private:
            expected["private"] = own([32] * len(one))
        assert table(stack) == expected
        assert sharing_totals(stack).unshared == 248 * len(one)


def test_a_weight_is_in_the_smallest_part_that_names_it():
    def block():
        names = ("query", "key", "value")
        attention = [layers.Dense(8, name=name) for name in names]
        return keras.Sequential(
            [keras.Sequential(attention, name="attention"), layers.Dense(8)]
        )

    stack = built(
        block,
        {"attention": "AAA", "query": "AAB"},
        private="bias",
        relax={"query": LowRank(1)},
    )
    assert table(stack) == {
        "attention": uses(SharingPattern("AAA"), 2 * 64),
        "query": uses(SharingPattern("AAB"), 64),
        "rest": own([64] * 3),
        "private": own([4 * 8 + 2 * 8] * 3),
    }
    assert sharing_totals(stack).unshared == 3 * 4 * 72


def test_templates_belong_to_the_part_of_their_kernel():
    stack = built(
        parts, {"one": "AA", "two": "AB"}, private=None, relax=Templates(3, seed=0)
    )
    assert table(stack) == {
        "one": uses(SharingPattern("AA"), 72 + 2 * 64),
        "two": uses(SharingPattern("AB"), 72),
        "rest": own([104] * 2),
        "private": own([3] * 2),
    }


def test_loops_share_alike():
    rolled = built(block, "ABAB", unroll=False)
    assert table(rolled) == table(built(block, "ABAB"))


def test_what_is_stored_is_told_by_the_weights_and_not_by_the_pattern():
    dense = layers.Dense(8)
    stack = built([dense, Tied(dense, "bias")], "ABA", private=None)
    assert table(stack) == {"block": [("A", 72, 72), ("B", 72, 8), ("A", 72, 0)]}


def test_blocks_without_weights():
    stack = built(layers.ReLU(), "AAB")
    assert table(stack) == {"block": [("A", 0, 0), ("A", 0, 0), ("B", 0, 0)]}
    assert sharing_totals(stack).ratio == 1


def test_rows():
    stack = built(layers.Dense(8, name="dense"), "ABA", private="bias")
    assert stack.sharing()[-2:] == [
        SharingRow(2, "block", 0, "A", 64, 0, "dense_A"),
        SharingRow(2, "private", 2, "", 8, 8, "dense_A"),
    ]


def summary(stack):
    lines = []
    stack.summary(print_fn=lines.append)
    return "\n".join(lines)


def test_summary():
    stack = built(layers.Dense(8, name="dense"), "ABAA", private="bias")
    assert summary(stack) == (
        "stack: pattern ABAA\n"
        "site  block  private  layer\n"
        "   0  A  64        8  dense_A\n"
        "   1  B  64        8  dense_B\n"
        '   2  A   "        8  dense_A\n'
        '   3  A   "        8  dense_A\n'
        " sum    128       32\n"
        "\n"
        "160 parameters stored, 288 if nothing were shared (ratio 0.556); 32 private\n"
        "\n"
        "site 0 1 2 3\n"
        "A    o---o-o\n"
        "B      o"
    )


def test_summary_of_parts():
    stack = built(parts, {"one": "AA", "two": "AB"})
    assert summary(stack) == (
        "stack: patterns of one, two\n"
        "site   one    two  rest  private  layer\n"
        f"   0  A 72  A  72    72       32  {stack.blocks[0].name}\n"
        f'   1  A  "  B  72    72       32  {stack.blocks[0].name}\n'
        " sum    72    144   144       64\n"
        "\n"
        "424 parameters stored, 496 if nothing were shared (ratio 0.855); 64 private\n"
        "\n"
        "one: AA\n"
        "\n"
        "site 0 1\n"
        "A    o-o\n"
        "\n"
        "two: AB"
    )


@pytest.mark.parametrize(
    "pattern, folded",
    [
        ("shared", {"2-47 as 1, 46 times": 2}),
        ("cycle:4", {"8-47 as 4-7, 10 times": 8}),
        ("sequence:2", {"2-23 as 1, 22 times": 2, "26-47 as 25, 22 times": 5}),
        ("core:2,3,14,4", {"8-43 as 5-7, 12 times": 8}),
        ("unshared", {}),
    ],
)
def test_long_summaries_are_folded(pattern, folded):
    stack = built(layers.Dense(8, name="dense"), pattern, num_sites=48, private="bias")
    lines = summary(stack).split("\n")
    rows = lines[2 : lines.index("") - 1]
    assert {line: i for i, line in enumerate(rows) if " as " in line} == folded
    sites = [line.split()[0] for line in rows]
    seen = [range(int(s.split("-")[0]), int(s.split("-")[-1]) + 1) for s in sites]
    assert [site for some in seen for site in some] == list(range(48))
    assert all(len(line) <= 80 for line in lines)


def test_summary_needs_a_built_stack():
    with pytest.raises(ValueError, match="'s' has no weights yet"):
        SharedStack(layers.Dense(2), "AA", name="s").summary()
