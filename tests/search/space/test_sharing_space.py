"""`sharing_space`: patterns, parts, relaxations, and the width that just fits."""

import doctest

import keras_tuner as kt
import pytest

import keras_share.search.space.sharing_space
from keras_share import LowRank, Scale
from keras_share.search import sharing_space
from keras_share.search.space.pattern_space import PatternSpace


def listed(*args, **kwargs):
    space = PatternSpace(*args, **kwargs)
    found = [space.pattern(i) for i in range(space.count)]
    assert [space.index(pattern) for pattern in found] == list(range(space.count))
    assert all(pattern in space for pattern in found)
    assert PatternSpace.parse(str(space)) == space
    return [str(pattern) for pattern in found]


def test_docstring():
    assert doctest.testmod(keras_share.search.space.sharing_space).failed == 0


def test_repeats_and_core_stand_for_all_that_fit():
    assert listed(5, families="repeats") == ["AAAAA", "AAABB", "AABBC", "ABCDE"]
    assert listed(4, families="core") == [
        *("AAAA", "AAAB", "ABAB", "ABBB", "AABC", "ABBC", "ABCC")
    ]


def test_private_ends():
    assert listed(4, private_ends=True) == ["ABBC", "ABCD"]
    assert listed(5, max_groups=3, private_ends=True) == ["ABBBC"]
    found = listed(5, families=["repeats", "sandwich", "core"], private_ends=True)
    assert found == ["ABBBC", "ABBCD", "ABCCD", "ABCDE"]
    with pytest.raises(ValueError, match="must leave at least one pattern"):
        listed(5, families="shared", private_ends=True)
    with pytest.raises(ValueError, match="between the first and the last"):
        listed(2, private_ends=True)


def chosen(num_sites, values, **kwargs):
    """The design of a trial with some values."""
    hp = kt.HyperParameters()
    hp.values.update(values)
    return sharing_space(hp, num_sites, **kwargs)


def test_each_part_has_its_pattern():
    values = {"sharing_attention": 0, "sharing_feedforward": 1}
    sites = {"attention": 4, "feedforward": 4}
    design = chosen(sites, values, families=["sequence"])
    assert {name: str(p) for name, p in design.pattern.items()} == {
        "attention": "AAAA",
        "feedforward": "AABB",
    }
    assert str(design) == "attention=AAAA feedforward=AABB"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"sharing.relax": "scale"}, Scale()),
        ({"sharing.relax": "low_rank", "sharing.rank": 4}, LowRank(4)),
        # What shares nothing has nothing to relax.
        ({"sharing.relax": "scale", "sharing": 3}, None),
    ],
)
def test_relaxation(values, expected):
    design = chosen(4, values, families=["sequence"])
    assert design.relax == expected


def test_the_width_is_the_largest_that_fits():
    def size_of(design):
        return design.pattern.num_groups * design.width**2

    budget = {"widths": range(10, 100), "max_bytes": 4000, "size_of": size_of}
    for value in range(4):
        design = chosen(4, {"sharing": value}, families=["sequence"], **budget)
        groups = value + 1
        assert groups * design.width**2 <= 4000 < groups * (design.width + 1) ** 2
    budget["max_bytes"] = 1
    assert chosen(4, {}, **budget).width == 10
    assert chosen(4, {"sharing.width": 32}, widths=[16, 32]).width == 32


def test_what_it_refuses():
    with pytest.raises(ValueError, match="`relax` must name relaxations"):
        chosen(4, {}, relax=["rank"])
    with pytest.raises(ValueError, match="what the width is solved for"):
        chosen(4, {}, max_bytes=1000)


@pytest.mark.parametrize("solved", [True, False])
def test_ranks_fit_the_width(solved):
    values = {"sharing.relax": "low_rank", "sharing.rank": 8, "sharing.width": 4}
    limits = {"max_bytes": 5, "size_of": lambda design: design.width} if solved else {}
    design = chosen(4, values, widths=[4, 16], **limits)
    assert (design.width, design.relax) == (4, LowRank(4))
