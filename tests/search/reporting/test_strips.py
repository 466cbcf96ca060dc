"""Patterns as strips of colored squares."""

import xml.etree.ElementTree as ET

import pytest

from keras_share import SharingPattern
from keras_share.search.reporting import page, strips

PATTERNS = [*map(str, SharingPattern.all(4)), "ABCDEFGHIJ" * 2]


@pytest.mark.parametrize("text", PATTERNS)
def test_sites_of_a_group_have_one_color(text):
    pattern = SharingPattern(text)
    colors = strips.colors(pattern)
    shared = [group for group in pattern.groups if len(group) > 1]
    assert [len({colors[site] for site in group}) for group in shared] == [1] * len(
        shared
    )
    assert len({colors[group[0]] for group in shared}) == len(shared)
    alone = {colors[group[0]] for group in pattern.groups if len(group) == 1}
    assert len(alone) <= 1
    assert not alone & {colors[group[0]] for group in shared}


def test_there_are_21_colors():
    pattern = SharingPattern([*range(21)] * 2)
    assert len(set(strips.colors(pattern))) == 21


@pytest.mark.parametrize("sites", [1, 6, 16, 17, 48])
def test_svg(sites):
    patterns = {"a": SharingPattern([0] * sites), "<b>": SharingPattern(range(sites))}
    root = ET.fromstring(page._svg(patterns))
    title, *drawn = root
    assert title.text == f"a={patterns['a']} <b>={patterns['<b>']}"
    squares = [mark for mark in drawn if mark.tag == "rect"]
    letters = [mark.text for mark in drawn if mark.tag == "text"]
    assert len(squares) == 2 * sites
    names = [*patterns["a"].names, *patterns["<b>"].names]
    assert letters == (names if sites <= 16 else [])
    right = max(float(s.get("x")) + float(s.get("width")) for s in squares)
    bottom = max(float(s.get("y")) + float(s.get("height")) for s in squares)
    assert right <= float(root.get("width")) and bottom <= float(root.get("height"))


def test_svg_of_nothing():
    assert page._svg({}) == ""


def test_letters_can_be_read():
    assert strips._ink("#F0E442") == "#000000"
    assert strips._ink("#0072B2") == "#ffffff"
