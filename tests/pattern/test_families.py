"""The families of patterns, and their names."""

import string
from itertools import product

import pytest

from keras_share.pattern import families
from keras_share.pattern.sharing_pattern import FAMILIES, SharingPattern


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


def test_a_number_of_sites_that_no_network_has_is_not_believed():
    for spec in ("shared", "cycle:2"):
        assert SharingPattern.get(spec, 4096).num_sites == 4096
        with pytest.raises(ValueError, match="Received: 20000000"):
            SharingPattern.get(spec, 20_000_000)
    assert len(SharingPattern(range(4096)).groups) == 4096
    with pytest.raises(ValueError, match="at most 4096 sites"):
        SharingPattern("A" * 4097)
