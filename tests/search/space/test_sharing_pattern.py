"""`sharing_pattern` as a hyperparameter: every pattern once, in any tuner."""

import doctest
import random

import keras_tuner as kt
import pytest

import keras_share.search.space.sharing_pattern
from keras_share import SharingPattern
from keras_share.search import sharing_pattern
from keras_share.search.engine import Fixed
from keras_share.search.space import numbering
from keras_share.search.space.pattern_space import PatternSpace
from keras_share.search.space.sharing_pattern import patterns_of


def patterns(num_sites, **kwargs):
    """What each value of the hyperparameter stands for."""
    hp = kt.HyperParameters()
    sharing_pattern(hp, num_sites, **kwargs)
    parameter = hp.space[-1]
    found = []
    for value in parameter.values:
        hp = kt.HyperParameters()
        hp.values["sharing"] = value
        found.append(sharing_pattern(hp, num_sites, **kwargs))
    return found


def names(found):
    return [str(pattern) for pattern in found]


@pytest.mark.parametrize("num_sites", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("max_groups", [None, 1, 2, 3])
def test_each_partition_is_one_value(num_sites, max_groups):
    found = patterns(num_sites, max_groups=max_groups)
    assert found == list(SharingPattern.all(num_sites, max_groups))


def test_the_whole_range_can_be_drawn():
    hp = kt.HyperParameters()
    sharing_pattern(hp, 4)
    parameter = hp.space[-1]
    drawn = {parameter.random_sample(seed) for seed in range(1, 400)}
    assert drawn == set(range(SharingPattern.count(4)))


def test_families_count_equal_patterns_once():
    found = patterns(4, families=["sequence", "cycle", "cycle_rev", "shared"])
    assert names(found) == [
        *("AAAA", "AABB", "ABAB", "ABBA"),
        *("AABC", "ABCA", "ABCC", "ABCD"),
    ]
    assert len(set(found)) == len(found)


def test_order_of_families_does_not_matter():
    forward = patterns(6, families=["sandwich", "cycle", "sequence:3"])
    backward = patterns(6, families=("sequence:3", "cycle", "sandwich"))
    assert forward == backward


def test_family_with_a_number_of_groups():
    found = patterns(6, families=["cycle:2", "sequence:3", "cycle_rev:3"])
    assert names(found) == ["ABABAB", "AABBCC", "ABCCBA"]


def test_max_groups_filters_families():
    families = ["unshared", "sandwich", "sequence"]
    found = patterns(5, families=families, max_groups=2)
    assert names(found) == ["AAAAA", "AAABB"]


def test_a_single_family_may_be_a_string():
    assert names(patterns(4, families="cycle:2")) == ["ABAB"]


def test_one_possible_pattern_is_fixed():
    hp = kt.HyperParameters()
    assert str(sharing_pattern(hp, 3, families=["shared"])) == "AAA"
    assert isinstance(hp.space[1], Fixed)


def test_unknown_family():
    with pytest.raises(ValueError, match=r"names out of unshared, shared, .*'round'"):
        sharing_pattern(kt.HyperParameters(), 4, families=["cycle", "round"])


def test_impossible_number_of_groups():
    with pytest.raises(ValueError, match="between 1 and num_sites"):
        sharing_pattern(kt.HyperParameters(), 4, families=["cycle:5"])


def test_nothing_left():
    with pytest.raises(ValueError, match=r"at least one pattern.*max_groups=2"):
        sharing_pattern(kt.HyperParameters(), 4, families=["unshared"], max_groups=2)


@pytest.mark.parametrize("families", [None, ["cycle"]])
def test_bad_sizes(families):
    with pytest.raises(ValueError, match="`num_sites` must be"):
        sharing_pattern(kt.HyperParameters(), 0, families=families)
    with pytest.raises(ValueError, match="`max_groups` must be"):
        sharing_pattern(kt.HyperParameters(), 4, families=families, max_groups=0)


@pytest.mark.parametrize("num_sites", [6, 22, 23, 48])
@pytest.mark.parametrize("max_groups", [None, 3])
def test_every_pattern_has_values(num_sites, max_groups):
    patterns = PatternSpace(num_sites, max_groups)
    ends = [0, 1, patterns.count // 3, patterns.count - 1]
    rng = random.Random(0)
    for index in ends + [rng.randrange(patterns.count) for _ in range(20)]:
        pattern = patterns.pattern(index)
        hp = kt.HyperParameters()
        hp.values = numbering.integers("sharing", patterns, pattern)
        ranges = numbering.ranges("sharing", patterns)
        assert all(0 <= hp.values[n] <= most < 2**53 for n, most in ranges.items())
        assert sharing_pattern(hp, num_sites, max_groups=max_groups) == pattern
        assert patterns_of(hp) == {"sharing": pattern}
        assert [p.name for p in hp.space] == ["sharing.patterns", *ranges]


def test_random_values_of_many_patterns_are_patterns():
    hp = kt.HyperParameters()
    sharing_pattern(hp, 48)
    drawn = set()
    for seed in range(1, 60):
        values = {
            p.name: p.random_sample(seed * 10 + i) for i, p in enumerate(hp.space)
        }
        drawn.update(numbering.patterns_from_values(values).values())
    assert len(drawn) == 59
    # A random partition of 48 elements has about 16 blocks.
    assert 14 < sum(p.num_groups for p in drawn) / 59 < 18


def test_values_without_their_patterns():
    hp = kt.HyperParameters()
    with hp.name_scope("encoder"):
        sharing_pattern(hp, 4)
        hp.values = {"encoder/sharing": 3}
        assert str(sharing_pattern(hp, 4)) == "AABB"
    assert names(patterns_of(hp).values()) == ["AABB"]


def test_values_of_other_patterns():
    hp = kt.HyperParameters()
    sharing_pattern(hp, 4)
    with pytest.raises(ValueError, match=r"same patterns.*max_groups.*another `name`"):
        sharing_pattern(hp, 4, max_groups=2)


def test_patterns_are_known_by_their_scoped_names():
    hp = kt.HyperParameters()
    sharing_pattern(hp, 3, name="ffn")
    with hp.name_scope("encoder"), hp.name_scope("attention"):
        for _ in range(2):  # again, as in a build for known hyperparameters
            sharing_pattern(hp, 4)
    assert {name: str(p) for name, p in patterns_of(hp).items()} == {
        "ffn": "AAA",
        "encoder/attention/sharing": "AAAA",
    }
    assert [p.name for p in hp.space] == [
        *("ffn.patterns", "ffn"),
        *("encoder/attention/sharing.patterns", "encoder/attention/sharing"),
    ]


def test_inactive_scope_gives_none():
    hp = kt.HyperParameters()
    hp.Choice("kind", ["plain", "shared"])

    def build():
        with hp.conditional_scope("kind", ["shared"]):
            return sharing_pattern(hp, 3)

    assert build() is None
    assert patterns_of(hp) == {}
    hp.values = {"kind": "shared", "sharing": 1}
    assert str(build()) == "AAB"
    assert names(patterns_of(hp).values()) == ["AAB"]
    hp.values = {"kind": "plain"}
    assert build() is None
    assert patterns_of(hp) == {}


def test_docstring_example():
    outcome = doctest.testmod(keras_share.search.space.sharing_pattern)
    assert outcome.attempted >= 4
    assert outcome.failed == 0
