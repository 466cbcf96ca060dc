"""Errors of a user's function are told as such."""

import sys

import pytest

from keras_share.search.launching.script import prepare

SCRIPT = """
import helper
from keras_share.search.project.record import format_patterns

def own():
    return {}["gone"]

def a_helpers():
    return helper.fails()

def called_back():
    return format_patterns(helper.Broken())

def of_a_library():
    import json
    return json.loads("{")

def refused():
    from keras_share.search import FairPruner
    return FairPruner(0)

def misspelt():
    from keras_share.search import FairPruner
    return FairPruner(rule=1)
"""
HELPER = """
def fails():
    return [][1]

class Broken(dict):
    def __iter__(self):
        raise LookupError("in a file beside the script")
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, text in [("train", SCRIPT), ("helper", HELPER)]:
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(text)
    yield tmp_path / "train.py"
    sys.modules.pop("helper", None)


@pytest.mark.parametrize(
    "function, message",
    [
        ("own", "KeyError: 'gone'"),
        ("a_helpers", "IndexError: list index out of range"),
        ("called_back", "LookupError: in a file beside the script"),
        ("of_a_library", "JSONDecodeError: Expecting property name"),
        ("refused", "ValueError: `pruner` must be a pruner of optuna.pruners"),
        ("misspelt", "TypeError: .*unexpected keyword argument 'rule'"),
        ("gone", "AttributeError: module 'train' has no attribute 'gone'"),
    ],
)
def test_faults_of_the_user(function, message, script):
    told = f"{function} must run without an error; .* Received: {message}"
    with pytest.raises(ValueError, match=told) as raised:
        prepare(f"{script}:{function}")
    assert raised.value.__cause__ is not None  # for --debug


def test_a_module_that_is_missing():
    with pytest.raises(ValueError, match=r"ModuleNotFoundError: No module named 'gone"):
        prepare("gone_module:function")
