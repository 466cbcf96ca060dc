"""Patterns as strips of colored squares."""

import xml.etree.ElementTree as ET

import pytest

from keras_share import SharingPattern
from keras_share.search.project.record import TrialRecord
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


def drawn(record):
    return page._ENVIRONMENT.get_template("strip.html").module.strip(record).strip()


@pytest.mark.parametrize("sites", [1, 6, 16, 17, 48])
def test_strip(sites):
    patterns = {"a": SharingPattern([0] * sites), "<b>": SharingPattern(range(sites))}
    record = TrialRecord(trial_id="0", status="COMPLETED", patterns=patterns)
    root = ET.fromstring(drawn(record))
    assert root.get("title") == f"a={patterns['a']} <b>={patterns['<b>']}"
    for row, pattern in zip(root, patterns.values(), strict=True):
        letters = pattern.names if sites <= 16 else [None] * sites
        assert [square.text for square in row] == [*letters]
        assert (row.get("class") == "long") is (sites > 16)
        colors = [square.get("style").split(";")[0] for square in row]
        assert colors == [f"background: {c}" for c in strips.colors(pattern)]


def test_no_pattern():
    record = TrialRecord(trial_id="0", status="FAILED")
    assert drawn(record) == ""


def test_letters_can_be_read():
    assert strips._ink("#F0E442") == "#000000"
    assert strips._ink("#0072B2") == "#ffffff"
