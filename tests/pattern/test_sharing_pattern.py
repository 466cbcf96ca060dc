"""`SharingPattern`: which sites share."""

import pickle
from itertools import product

import numpy as np
import pytest

from keras_share.pattern import families
from keras_share.pattern.sharing_pattern import FAMILIES, SharingPattern


@pytest.mark.parametrize(
    "labels, expected",
    [
        ("BBA", (0, 0, 1)),
        ([7, 7, 2], (0, 0, 1)),
        ((None, "x", None), (0, 1, 0)),
        (np.array([3, 1, 3]), (0, 1, 0)),
        (range(3), (0, 1, 2)),
        ("Aa", (0, 1)),
    ],
)
def test_labels_are_canonical(labels, expected):
    assert SharingPattern(labels).labels == expected


def test_is_an_immutable_ordered_value():
    pattern = SharingPattern("AAB")
    with pytest.raises(AttributeError):
        pattern.labels = (0,)
    assert pattern == SharingPattern("xxy")
    assert len({pattern, SharingPattern("CCD"), SharingPattern("ABB")}) == 2
    assert SharingPattern("AAA") < SharingPattern("AAB") < SharingPattern("ABA")
    assert pickle.loads(pickle.dumps(pattern)) == pattern
    assert repr(pattern) == "SharingPattern('AAB')"
    assert (pattern.num_sites, pattern.num_groups) == (3, 2)
    assert pattern.groups == ((0, 1), (2,))
    assert len(pattern) == 3


def test_get_takes_patterns_labels_and_none():
    pattern = SharingPattern("ABA")
    assert SharingPattern.get(pattern) is pattern
    assert SharingPattern.get([5, 6, 5], 3) == pattern
    assert SharingPattern.get("XYX") == pattern
    assert SharingPattern.get(None, 3) == SharingPattern.unshared(3)


@pytest.mark.parametrize(
    "pattern",
    [
        *SharingPattern.all(5),
        SharingPattern.unshared(52),
        SharingPattern.unshared(53),
        SharingPattern.cycle(200, 60),
    ],
)
def test_str_is_read_back(pattern):
    assert SharingPattern.get(str(pattern), pattern.num_sites) == pattern


def test_every_family_is_a_method_and_a_map():
    for name in FAMILIES:
        assert callable(getattr(SharingPattern, name))
        assert callable(getattr(families, name))


def test_merge():
    assert SharingPattern("ABCA").merge(0, 2) == SharingPattern("ABAA")
    assert SharingPattern("ABCA").merge(2, 1) == SharingPattern("ABBA")
    with pytest.raises(ValueError, match=r"between 0 and 1\. Received: a=0, b=2"):
        SharingPattern("AB").merge(0, 2)


@pytest.mark.parametrize("n", range(1, 5))
def test_meet_is_the_coarsest_pattern_that_splits_both(n):
    def splits(fine, coarse):
        return fine.meet(coarse) == fine

    patterns = list(SharingPattern.all(n))
    for a, b in product(patterns, repeat=2):
        both = a.meet(b)
        for i, j in product(range(n), repeat=2):
            shared = [p.labels[i] == p.labels[j] for p in (both, a, b)]
            assert shared[0] == (shared[1] and shared[2])
        assert both == b.meet(a)
        assert {p for p in patterns if splits(p, a) and splits(p, b)} == {
            p for p in patterns if splits(p, both)
        }
    assert all(p.meet(None) == SharingPattern.unshared(n) for p in patterns)
    assert all(p.meet("shared") == p for p in patterns)


@pytest.mark.parametrize("n", range(1, 7))
def test_neighbors_are_one_merge_or_split_away(n):
    def merges(pattern):
        k = pattern.num_groups
        return {pattern.merge(a, b) for a in range(k) for b in range(k) if a != b}

    for pattern in SharingPattern.all(n):
        neighbors = list(pattern.neighbors())
        assert len(neighbors) == len(set(neighbors))
        splits = {p for p in SharingPattern.all(n) if pattern in merges(p)}
        assert set(neighbors) == merges(pattern) | splits


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: SharingPattern([]), r"at least one site.*labels=\(\)"),
        (lambda: SharingPattern.cycle(6, 9), r"between 1 and num_sites \(6\).*=9"),
        (lambda: SharingPattern.sequence(6, 0), r"num_groups=0"),
        (lambda: SharingPattern.shared(0), r"`num_sites` must be .* at least 1.*0"),
        (lambda: SharingPattern.get("AAB", 4), r"one label per site \(4\).*'AAB'.*3"),
        (lambda: SharingPattern.get("cycle:2"), r"`num_sites` is needed.*'cycle:2'"),
        (lambda: SharingPattern.get("cycle", 4), r"needs a number of groups.*cycle:2"),
        (lambda: SharingPattern.get("cycle:x", 4), r"needs a number.*'cycle:x'"),
        (lambda: SharingPattern.get("shared:2", 4), r"takes no number.*'shared:2'"),
        (lambda: SharingPattern.get("ring:2", 4), r"Unknown family.*cycle.*'ring:2'"),
        (lambda: SharingPattern.get("ring", 6), r"one label per site \(6\).*families"),
        (lambda: SharingPattern.get("middle_cycle", 6), r"needs.*middle_cycle:2"),
        (lambda: SharingPattern.get("cycle:2,3", 6), r"needs a number.*'cycle:2,3'"),
        (lambda: SharingPattern.get("core:1,2,3"), r"four numbers.*'core:1,2,3'"),
        (lambda: SharingPattern.get("core", 4), r"four numbers.*core:1,2,3,1"),
        (lambda: SharingPattern.get("core:1,2,3,1", 9), r"\(9\).*3,1' with 8 labels"),
        (lambda: SharingPattern.get("repeats"), r"repeats for each.*repeats:2,1,3"),
        (lambda: SharingPattern.get("repeats:2,"), r"repeats for each.*'repeats:2,'"),
        (lambda: SharingPattern.get("repeats:2 1"), r"repeats for each.*'repeats:2 1'"),
        (lambda: SharingPattern.get("repeats:2,0"), r"at least 1 .*counts=\[2, 0\]"),
        (lambda: SharingPattern.get("repeats:2,1", 4), r"\(4\).*2,1' with 3 labels"),
        (lambda: SharingPattern.repeats(()), r"at least 1 for each group.*counts=\(\)"),
        (lambda: SharingPattern.repeats(3), r"at least 1 for each group.*counts=3"),
        (lambda: SharingPattern.repeats("21"), r"at least 1 for each.*counts='21'"),
        (lambda: SharingPattern.core(-1, 2, 3, 1), r"`prelude` .* least 0.*prelude=-1"),
        (lambda: SharingPattern.core(1, 0, 3, 1), r"`core` .* least 1.*core=0"),
        (lambda: SharingPattern.core(1, 2, 0, 1), r"`repeats` .* least 1.*repeats=0"),
        (lambda: SharingPattern.core(1, 2, 3, 0.5), r"`coda` .* least 0.*coda=0.5"),
        (lambda: SharingPattern.middle_cycle(6, 5), r"num_sites - 2 \(4\).*=5"),
        (lambda: SharingPattern.middle_sequence(6, 0), r"num_sites - 2 \(4\).*=0"),
        (lambda: SharingPattern.middle_cycle(2, 1), r"at least 3.*num_sites=2"),
        (lambda: SharingPattern.middle_cycle("6", 1), r"`num_sites` must be .*'6'"),
        (lambda: SharingPattern("AB").meet("AAB"), r"per site \(2\).*'AAB' with 3"),
        (lambda: SharingPattern.all(3, 0), r"`max_groups` must be .* max_groups=0"),
        (lambda: SharingPattern.from_rank(5, 3), r"between 0 and 4.*rank=5"),
        (lambda: SharingPattern("ABC").rank(2), r"3 groups .* at most 2"),
    ],
)
def test_errors_state_the_rule_and_the_value(call, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        call()


@pytest.mark.parametrize("labels", [3, None, [[0], [1]]])
def test_labels_must_be_hashable_sequences(labels):
    with pytest.raises(TypeError, match="one per site"):
        SharingPattern(labels)
