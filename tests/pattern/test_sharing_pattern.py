import pickle
import random
import string
from collections import Counter
from itertools import product

import numpy as np
import pytest

from keras_share.pattern import families
from keras_share.pattern.sharing_pattern import FAMILIES, SharingPattern

BELL = [1, 1, 2, 5, 15, 52, 203, 877, 4140]
STIRLING_6 = [0, 1, 31, 90, 65, 15, 1]


def brute_force(n, max_groups=None):
    """Every distinct partition among all label strings, by canonical form."""
    patterns = {SharingPattern(labels) for labels in product(range(n), repeat=n)}
    return {p for p in patterns if max_groups is None or p.num_groups <= max_groups}


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


@pytest.mark.parametrize(
    "spec, num_sites, expected",
    [
        ("unshared", 4, "ABCD"),
        ("shared", 4, "AAAA"),
        ("sandwich", 1, "A"),
        ("sandwich", 2, "AB"),
        ("sandwich", 3, "ABC"),
        ("sandwich", 5, "ABBBC"),
        ("sequence:2", 6, "AAABBB"),
        ("sequence:2", 5, "AAABB"),
        ("sequence:4", 6, "AABCCD"),
        ("cycle:2", 5, "ABABA"),
        ("cycle:3", 6, "ABCABC"),
        ("cycle_rev:3", 6, "ABCCBA"),
        ("cycle_rev:2", 6, "ABABBA"),
        ("cycle_rev:3", 5, "ABCCB"),
        ("cycle_rev:4", 4, "ABCD"),
        ("cycle_rev:1", 3, "AAA"),
        ("middle_sequence:3", 11, "ABBBCCCDDDE"),
        ("middle_sequence:2", 7, "ABBBCCD"),
        ("middle_cycle:3", 11, "ABCDBCDBCDE"),
        ("middle_cycle:2", 7, "ABCBCBD"),
        ("middle_cycle:1", 3, "ABC"),
        ("core:1,2,3,1", 8, "ABCBCBCD"),
        ("core:2,4,2,2", None, "ABCDEFCDEFGH"),
        ("core: 0, 1, 3, 0", None, "AAA"),
        ("repeats:2,1,3", 6, "AABCCC"),
        ("repeats:4", None, "AAAA"),
    ],
)
def test_families(spec, num_sites, expected):
    assert str(SharingPattern.get(spec, num_sites)) == expected


@pytest.mark.parametrize("n", range(1, 9))
@pytest.mark.parametrize("family", ["sequence", "cycle", "cycle_rev"])
def test_grouped_families_have_the_groups_asked_for(family, n):
    for num_groups in range(1, n + 1):
        pattern = getattr(SharingPattern, family)(n, num_groups)
        assert (pattern.num_sites, pattern.num_groups) == (n, num_groups)
    assert pattern == SharingPattern.unshared(n)


def is_canonical(labels):
    return SharingPattern(labels).labels == tuple(labels)


@pytest.mark.parametrize("n", range(3, 9))
def test_middle_families_follow_the_formulas_of_their_paper(n):
    for groups in range(1, n - 1):
        cycle = families.middle_cycle(n, groups)
        sequence = families.middle_sequence(n, groups)
        for labels in (cycle, sequence):
            assert is_canonical(labels)
            assert (len(labels), max(labels)) == (n, groups + 1)
            assert labels.count(labels[0]) == labels.count(labels[-1]) == 1
        middle = range(1, n - 1)
        assert cycle[1:-1] == [1 + (site - 1) % groups for site in middle]
        assert sequence[1:-1] == [1 + (site - 1) * groups // (n - 2) for site in middle]
        sizes = [sequence.count(group) for group in range(1, groups + 1)]
        assert max(sizes) - min(sizes) <= 1
        if (n - 2) % groups == 0:
            recursions = (n - 2) // groups
            assert sequence[1:-1] == [(site - 1) // recursions + 1 for site in middle]
    assert SharingPattern(cycle) == SharingPattern(sequence)
    assert SharingPattern(cycle) == SharingPattern.unshared(n)
    for family in ("middle_cycle", "middle_sequence"):
        assert SharingPattern.get(f"{family}:1", n) == SharingPattern.sandwich(n)


@pytest.mark.parametrize("prelude", range(8))
def test_core_is_a_cycle_between_private_ends(prelude):
    for core, repeats, coda in product(range(1, 9), range(1, 9), range(8)):
        num_sites = prelude + core * repeats + coda
        if num_sites > 8:
            continue
        labels = families.core(prelude, core, repeats, coda)
        assert is_canonical(labels)
        assert labels == [
            site
            if site < prelude
            else prelude + (site - prelude) % core
            if site < prelude + core * repeats
            else site - core * (repeats - 1)
            for site in range(num_sites)
        ]
        pattern = SharingPattern.core(prelude, core, repeats, coda)
        assert pattern.labels == tuple(labels)
        assert [len(group) for group in pattern.groups] == (
            [1] * prelude + [repeats] * core + [1] * coda
        )
        spec = f"core:{prelude},{core},{repeats},{coda}"
        for known in (None, num_sites):
            assert SharingPattern.get(spec, known) == pattern
        if prelude == coda == 0:
            assert pattern == SharingPattern.cycle(num_sites, core)
        if prelude == coda == 1:
            assert pattern == SharingPattern.middle_cycle(num_sites, core)


@pytest.mark.parametrize("n", range(1, 9))
def test_repeats_are_the_contiguous_patterns(n):
    found = set()
    for cuts in product([False, True], repeat=n - 1):
        ends = [site for site, cut in enumerate(cuts, 1) if cut] + [n]
        counts = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        labels = families.repeats(counts)
        assert is_canonical(labels)
        for site, group in enumerate(labels):
            assert sum(counts[:group]) <= site < sum(counts[: group + 1])
        pattern = SharingPattern.repeats(tuple(counts))
        assert [len(group) for group in pattern.groups] == counts
        spec = f"repeats:{','.join(map(str, counts))}"
        assert SharingPattern.get(spec) == SharingPattern.get(spec, n) == pattern
        found.add(pattern)
    assert found == {
        p for p in SharingPattern.all(n) if list(p.labels) == sorted(p.labels)
    }
    assert {SharingPattern.sequence(n, groups) for groups in range(1, n + 1)} <= found


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


def misspellings(name):
    """Every string that is one letter away, and the ways of writing the name."""
    for i in range(len(name) + 1):
        start, end = name[:i], name[i:]
        for letter in string.ascii_lowercase + "_":
            yield start + letter + end
            yield start + letter + end[1:]
        yield start + end[1:]
        yield start + end[1:2] + end[:1] + end[2:]
    words = name.split("_")
    for joint in ("", " ", "-", "_"):
        joined = joint.join(words)
        yield from (joined, joined.upper(), joined.title(), f" {joined}")
        yield from (joined + end for end in ("2", "-2", " 2", "(2)", "=2", ",2"))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("number", ["", ":2", ":1,2,3,1"])
def test_misspelled_families_are_refused(name, number):
    meant = "(un)?shared" if "shared" in name else name
    for spec in set(misspellings(name)) - set(FAMILIES):
        with pytest.raises(ValueError, match=rf"Did you mean '{meant}'\? Known"):
            SharingPattern.get(spec + number, 6)


@pytest.mark.parametrize(
    "spec, meant",
    [
        ("Shared", "shared"),
        ("share", "shared"),
        ("sandwhich", "sandwich"),
        ("cylce:2", "cycle"),
        ("Cycle:2", "cycle"),
        ("sequence2", "sequence"),
        ("middle-cycle", "middle_cycle"),
    ],
)
def test_the_family_that_was_meant_is_named(spec, meant):
    message = f"(?s)Unknown family.*Did you mean '{meant}'.*Received: '{spec}'"
    for num_sites in (None, len(spec)):
        with pytest.raises(ValueError, match=message):
            SharingPattern.get(spec, num_sites)


@pytest.mark.parametrize(
    "alphabet", ["ABCDEF", "abcdef", "FEDCBA", "ZYXABC", "012345", "123456"]
)
def test_labels_in_a_string_are_no_misspellings(alphabet):
    for n in range(1, 7):
        for pattern in SharingPattern.all(n):
            spec = "".join(alphabet[label] for label in pattern.labels)
            assert SharingPattern.get(spec) == pattern


@pytest.mark.parametrize("n", range(1, 7))
def test_all_yields_each_partition_once_in_order(n):
    for max_groups in [None, *range(1, n + 2)]:
        patterns = list(SharingPattern.all(n, max_groups))
        assert patterns == sorted(brute_force(n, max_groups))
        assert len(patterns) == SharingPattern.count(n, max_groups)


def test_all_is_lazy():
    patterns = SharingPattern.all(48)
    assert next(patterns) == SharingPattern.shared(48)
    assert str(next(patterns)) == "A" * 47 + "B"


def test_count_is_exact():
    assert [SharingPattern.count(n) for n in range(1, 9)] == BELL[1:]
    assert [SharingPattern.count(6, k) for k in range(1, 7)] == list(
        np.cumsum(STIRLING_6)[1:]
    )
    # Bell(26), from OEIS A000110.
    assert SharingPattern.count(26) == 49631246523618756274
    assert SharingPattern.count(2000, max_groups=2) == 2**1999


@pytest.mark.parametrize("max_groups", [None, 1, 2, 3, 4, 9])
@pytest.mark.parametrize("n", range(1, 7))
def test_rank_and_from_rank_are_inverse(n, max_groups):
    for i, pattern in enumerate(SharingPattern.all(n, max_groups)):
        assert pattern.rank(max_groups) == i
        assert SharingPattern.from_rank(i, n, max_groups) == pattern


def test_rank_works_at_48_sites():
    last = SharingPattern.count(48) - 1
    assert SharingPattern.from_rank(last, 48) == SharingPattern.unshared(48)
    pattern = SharingPattern.cycle_rev(48, 7)
    assert SharingPattern.from_rank(pattern.rank(), 48) == pattern


@pytest.mark.parametrize("rng", [random.Random(0), np.random.default_rng(0)])
@pytest.mark.parametrize("max_groups", [None, 2])
def test_sample_is_uniform_over_partitions(rng, max_groups):
    draws = 3000
    seen = Counter(SharingPattern.sample(4, rng, max_groups) for _ in range(draws))
    assert set(seen) == set(SharingPattern.all(4, max_groups))
    expected = draws / len(seen)
    chi_square = sum((k - expected) ** 2 / expected for k in seen.values())
    # 99.99th percentile of chi-square with 14 degrees of freedom; the seed is fixed.
    assert chi_square < 42


def test_sample_is_reproducible():
    assert SharingPattern.sample(48, 3) == SharingPattern.sample(48, 3)
    assert SharingPattern.sample(9, None).num_sites == 9


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
