"""What a search is a search of: every change is told, and none that is none."""

import functools
import re

import keras_tuner as kt
import pytest

from keras_share.search.project import identity
from keras_share.search.trial import objectives


def helper(width):
    return 2 * width


class Layers:
    def make(self):
        return helper(3)


def build(hp):
    """Names a class that names a function."""
    return Layers().make()


class Model(kt.HyperModel):
    def __init__(self, width=3):
        super().__init__()
        self.width = width

    def build(self, hp):
        return helper(self.width)


def space(most=8, scoped=False):
    hp = kt.HyperParameters()
    hp.Boolean("deep")
    if scoped:
        with hp.conditional_scope("deep", [True]):
            hp.Int("units", 1, most)
    else:
        hp.Int("units", 1, most)
    return hp


def taken(**changes):
    settings = identity.settings_of(None, None, 1, {})
    arguments = {
        "space": space(),
        "objectives": objectives.get("val_loss"),
        "code": {"build": "1"},
        "settings": settings,
        "arguments": {"epochs": 3, "x": [1.0]},
        **changes,
    }
    return identity.take(*arguments.values())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"arguments": {"epochs": 3, "x": [2.0]}}, []),  # data do not count
        ({"arguments": {"epochs": 4}}, ["arguments of `search`: epochs: 3 -> 4"]),
        ({"space": space(9)}, [r"search space: units: .*=8.* -> .*max_value=9"]),
        ({"space": space(8, True)}, [r"search space: units: .*if deep in \[True\]"]),
        (
            {"objectives": objectives.get("val_accuracy")},
            ["objective: val_loss is gone", "objective: val_accuracy is new"],
        ),
        ({"code": {"build": "2"}}, ["code: build: 1 -> 2"]),
        (
            {
                "settings": identity.settings_of(
                    {"quantization": "int8", "data": []},
                    "a/donor.keras",
                    2,
                    {"exported_bytes": 9},
                )
            },
            [
                r"tuner: inherit: None -> donor\.keras",
                r"export: None -> quantization='int8'",
                r"executions_per_trial: 1 -> 2",
                r"limit of exported_bytes is new",
            ],
        ),
    ],
)
def test_differences(changes, told):
    lines = identity.differences(taken(), taken(**changes))
    assert len(lines) == len(told)
    for line, pattern in zip(lines, told, strict=True):
        assert re.search(pattern, line), line


def test_code_is_what_is_named(monkeypatch):
    found = identity.code_of(_Function(build))
    assert found.keys() == {"build", "Layers", "helper"}
    of_model = identity.code_of(Model())
    assert of_model.keys() >= {"Model", "helper", "width"}
    assert identity.code_of(Model(4)) != of_model
    partial = functools.partial(functools.partial(build), None)
    assert identity.code_of(_Function(partial)) == found
    monkeypatch.setattr(
        identity.inspect, "getsource", lambda thing: f"def {thing.__name__}(): return 7"
    )
    assert identity.code_of(_Function(build))["build"] != found["build"]


class _Function(kt.HyperModel):
    """As KerasTuner wraps a function."""

    def __init__(self, function):
        self.build = function


def test_comments_and_docstrings_do_not_count(monkeypatch):
    texts = iter(
        [
            'def build(hp):\n    """Old."""\n    return 1\n',
            'def build(hp):\n    """New."""\n\n    return 1  # as before\n',
        ]
    )
    monkeypatch.setattr(identity.inspect, "getsource", lambda thing: next(texts))
    first, second = (identity.code_of(_Function(helper)) for _ in range(2))
    assert first == second


def test_code_without_a_source_counts_by_its_name():
    made = {}
    exec("def build(hp):\n    return 1\n", made)
    assert identity.code_of(_Function(made["build"])).keys() == {"build"}
    assert identity.code_of(_Function(lambda hp: 1)).keys()
