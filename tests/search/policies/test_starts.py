"""`StartWith`: given points first, each once."""

from policy_spaces import mixed, small

from keras_share.search.policies import (
    Observation,
    Problem,
    RandomPolicy,
    StartWith,
)


def test_given_points_come_first_and_once():
    space = mixed()
    given = [{"attention": one} for one in ("shared", "unshared", "shared")]
    policy = StartWith(given, RandomPolicy())
    observations, found = [], []
    for number in range(6):
        point = policy.propose(Problem(space, observations), f"1/{number}")
        observations.append(Observation(point, (float(number),)))
        found.append(point)
    assert [p["attention"].num_groups for p in found[:3]] == [1, 6, 1]
    assert len({space.key(point) for point in found}) == 6


def test_an_exhausted_space_ends_it():
    space = small()
    policy = StartWith([], RandomPolicy())
    tried = [Observation(point, (0.0,)) for point in space.grid(10_000)]
    assert policy.propose(Problem(space, tried), "1/0") is None
