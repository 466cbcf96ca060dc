"""`PatternSpace`: patterns by number, drawn, and their neighbors."""

import doctest
import random

import pytest

import keras_share.search.space.pattern_space
from keras_share import SharingPattern
from keras_share.search.space.pattern_space import PatternSpace, pattern_spaces

SPACES = [
    PatternSpace(1),
    PatternSpace(5),
    PatternSpace(6, max_groups=2),
    PatternSpace(6, families=("sandwich", "sequence", "cycle")),
    PatternSpace(6, max_groups=3, families=("sequence", "cycle")),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_index_and_pattern_are_inverse(space):
    patterns = [space.pattern(index) for index in range(space.count)]
    assert len(set(patterns)) == space.count
    assert [space.index(pattern) for pattern in patterns] == list(range(space.count))
    for pattern in SharingPattern.all(space.num_sites):
        assert (pattern in space) == (pattern in patterns)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_reads_what_it_writes(space):
    assert PatternSpace.parse(str(space)) == space


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_walks_reach_everything_and_stay_inside(space):
    rng = random.Random(0)
    pattern = space.pattern(space.count - 1)
    seen = {pattern}
    for _ in range(60 * space.count):
        before, pattern = pattern, space.neighbor(pattern, rng)
        assert pattern in space
        assert pattern != before or space.count == 1
        seen.add(pattern)
    assert len(seen) == space.count


def test_neighbors_are_near():
    rng = random.Random(0)
    space = PatternSpace(48, max_groups=6)
    for _ in range(50):
        pattern = space.sample(rng)
        moved = space.neighbor(pattern, rng)
        assert abs(moved.num_groups - pattern.num_groups) <= 1


def test_a_pattern_of_another_space():
    with pytest.raises(ValueError, match=r'must be one of the space \{"num_sites": 4'):
        PatternSpace(4, max_groups=2).index(SharingPattern("ABCA"))
    with pytest.raises(ValueError, match="must be one of the space"):
        PatternSpace(4, families="cycle").index(SharingPattern("AAAB"))


def test_spaces_among_values():
    values = {"a.patterns": '{"num_sites": 3}', "a": 1, "width": 8}
    assert pattern_spaces(values) == {"a": PatternSpace(3)}


def test_docstring_example():
    outcome = doctest.testmod(keras_share.search.space.pattern_space)
    assert outcome.attempted >= 2
    assert outcome.failed == 0
