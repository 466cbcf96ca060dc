"""Whose an error is."""

import pytest

from keras_share import SharingPattern
from keras_share.search.launching.script import told_of
from keras_share.search.project.record import best


def users():
    return {}["units"]


def on_purpose():
    SharingPattern.get("cycle:0", 4)


def bug():
    best([object()])  # as if the package itself had put it there


@pytest.mark.parametrize("fault, name", [(users, "KeyError"), (on_purpose, "ValueEr")])
def test_errors_of_the_script_are_told_as_such(fault, name):
    message = rf"train.py:f must run without an error.*Received: {name}"
    with pytest.raises(ValueError, match=message), told_of("train.py:f"):
        fault()


def test_a_bug_of_ours_is_not_blamed_on_the_script():
    message = "'object' object has no"
    with pytest.raises(AttributeError, match=message), told_of("train.py:f"):
        bug()
