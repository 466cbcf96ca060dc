"""What a search is a search of: every change is told, and none that is none."""

import functools
import inspect
import re

import keras_tuner as kt
import pytest

from keras_share.search.project.identity import code_of, differences, identity

SETTINGS = {"export": None, "inherit": None, "executions_per_trial": 1}


def build(hp):
    return 1


class Function(kt.HyperModel):
    """As KerasTuner wraps a function."""

    def __init__(self, function):
        self.build = function


class Model(kt.HyperModel):
    def __init__(self, width=3):
        super().__init__()
        self.width = width

    def build(self, hp):
        return self.width


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
    arguments = {
        "space": space(),
        "code": code_of(Model()),
        "settings": SETTINGS,
        "arguments": {"epochs": 3, "x": [1.0]},
    }
    return identity(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"arguments": {"epochs": 3, "x": [2.0]}}, []),  # data do not count
        ({"arguments": {"epochs": 4}}, ["arguments of `search`: epochs: 3 -> 4"]),
        ({"space": space(9)}, [r"search space: units: .*=8.* -> .*max_value=9"]),
        ({"space": space(8, True)}, [r"search space: units: .*if deep in \[True\]"]),
        ({"code": code_of(Model(4))}, ["code: width: 3 -> 4"]),
        (
            {"code": code_of(Function(build))},
            [*("name is gone", "tunable is", "width is", "Model is"), "build is new"],
        ),
        (
            {
                "settings": {
                    "export": {"quantization": "int8", "data": []},
                    "inherit": "a/donor.keras",
                    "executions_per_trial": 2,
                    "limit of exported_bytes": 9,
                }
            },
            [
                r"tuner: export: None -> quantization='int8'",
                r"inherit: None -> donor\.keras",
                r"executions_per_trial: 1 -> 2",
                r"limit of exported_bytes is new",
            ],
        ),
    ],
)
def test_differences(changes, told):
    lines = differences(taken(), taken(**changes))
    assert len(lines) == len(told), lines
    for line, pattern in zip(lines, told, strict=True):
        assert re.search(pattern, line), line


def test_code_is_the_text_without_comments(monkeypatch):
    found = code_of(Function(build))
    assert code_of(Function(functools.partial(functools.partial(build), None))) == found
    texts = iter(["def build(hp):\n    return 1  # old\n", "def build(hp): return 2"])
    monkeypatch.setattr(inspect, "getsource", lambda thing: next(texts))
    assert code_of(Function(build)) == found
    assert code_of(Function(build)) != found


def test_code_without_a_source_counts_by_its_name():
    made = {}
    exec("def build(hp):\n    return 1\n", made)
    assert code_of(Function(made["build"])).keys() == {"build"}
    assert code_of(Function(lambda hp: 1)).keys()
