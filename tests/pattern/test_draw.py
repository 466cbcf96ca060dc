"""Patterns as text: every site is marked once, in the row of its group."""

import pytest

from keras_share import SharingPattern


def read_back(text):
    """The label of each site, read from the columns of the picture alone."""
    labels = {}
    for block in text.split("\n\n"):
        header, *lines = block.split("\n")
        ends = {}
        for number in header.split()[1:]:
            ends[header.index(f" {number}", 4) + len(number)] = int(number)
        for line in lines:
            name = line.split(" ", maxsplit=1)[0]
            for column, mark in enumerate(line):
                if column >= 4 and mark == "o":
                    assert ends[column] not in labels
                    labels[ends[column]] = name
    return [labels[site] for site in range(len(labels))]


PATTERNS = [
    *SharingPattern.all(1),
    *SharingPattern.all(6),
    SharingPattern.cycle_rev(11, 4),
    *(SharingPattern.sample(48, seed) for seed in range(3)),
    SharingPattern.unshared(52),
    SharingPattern.cycle(101, 53),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_pattern_can_be_read_from_its_picture(pattern):
    assert read_back(pattern.draw()) == list(pattern.names)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_picture_is_at_most_80_columns_wide(pattern):
    lines = pattern.draw().split("\n")
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)


def test_sites_of_a_group_are_joined():
    assert SharingPattern("ABCAC").draw().split("\n") == [
        "site 0 1 2 3 4",
        "A    o-----o",
        "B      o",
        "C        o---o",
    ]


def test_48_sites_are_two_even_blocks_of_the_groups_in_them():
    first, second = SharingPattern.core(22, 3, 7, 5).draw().split("\n\n")
    assert first.split("\n")[0].split() == ["site", *map(str, range(24))]
    assert second.split("\n")[0].split() == ["site", *map(str, range(24, 48))]
    assert [line[0] for line in first.split("\n")[1:]] == list(
        "ABCDEFGHIJKLMNOPQRSTUVWX"
    )
    assert [line[0] for line in second.split("\n")[1:]] == list("WXYZabcd")
    # Site 23, the last of its block, is not the last of its group.
    assert first.endswith("o")
    assert second.split("\n")[2].startswith("X   --------o")
