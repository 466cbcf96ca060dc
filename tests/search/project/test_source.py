"""Code is known by what it says, wherever under the script's folder it stands."""

import functools
import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_share.search.project import source
from keras_share.search.project.source import description

PLAIN = '''
import math
import {helper} as near
from {helper} import block

WIDTH = 32
SIZES = (1, 2)
UNUSED = 5

def helper(x):
    return math.sqrt(x) + max(SIZES)

def unrelated():
    return UNUSED

class Base:
    def size(self):
        return WIDTH

class Model(Base):
    """A model."""

    def build(self, hp):
        return helper(hp) + self.size() + near.norm(hp) + block(near.RATE)

    @property
    def depth(self):
        return inner(3)

def inner(n):
    return [other(i) for i in range(n)]

def other(i):
    return i

def build(hp):
    return Model().build(hp)
'''

HELPER = """
RATE = 0.1
def block(x):
    return deeper(x)
def deeper(x):
    return x + 1
def norm(x):
    return x
def unused(x):
    return x
"""

_NUMBERS = itertools.count()


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads a module of some text, and the helper module that it imports."""
    monkeypatch.syspath_prepend(tmp_path)

    def load(text, helper=HELPER):
        number = next(_NUMBERS)
        name = f"near_{number}"
        (tmp_path / f"{name}.py").write_text(helper)
        (tmp_path / f"user_{number}.py").write_text(text.replace("{helper}", name))
        return importlib.import_module(f"user_{number}")

    return load


def code(module):
    """The description of a module's `build`, by names without numbers."""
    found = description(module.build)
    return {name.rpartition(".")[2]: text for name, text in found.items()}


def test_what_is_followed(load):
    assert sorted(code(load(PLAIN))) == [
        *("Base", "Model", "RATE", "SIZES", "WIDTH", "block", "build", "deeper"),
        *("helper", "inner", "norm", "other"),
    ]
    assert code(load(PLAIN))["WIDTH"] == "32"


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("WIDTH = 32", "WIDTH = 64", {"WIDTH"}),
        ("(1, 2)", "(1, 3)", {"SIZES"}),
        ("UNUSED = 5", "UNUSED = 6", set()),
        ("math.sqrt(x)", "math.sqrt(x + 1)", {"helper"}),
        ("math.sqrt(x)", "math.exp(x)", {"helper"}),
        ("return i\n", "return -i\n", {"other"}),
        ("return WIDTH", "return WIDTH * 2", {"Base"}),
        ("+ max(SIZES)", "+ (max( SIZES ) )", set()),
        ("def other(i):", "def other(i):  # of all", set()),
        ("def other(i):", "\n\n\ndef other(\n    i,\n):", set()),
        ('"""A model."""', '"""Another text."""', set()),
        ("return Model()", "return (\n        Model()\n    )", set()),
    ],
)
def test_what_counts_as_a_change(old, new, changed, load):
    before, after = code(load(PLAIN)), code(load(PLAIN.replace(old, new)))
    assert {n for n in before if before[n] != after[n]} == changed
    assert before.keys() == after.keys()


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("x + 1", "x + 2", {"deeper"}),
        ("RATE = 0.1", "RATE = 0.2", {"RATE"}),
        ("def norm(x):\n    return x", "def norm(x):\n    return -x", {"norm"}),
        ("def unused(x):\n    return x", "def unused(x):\n    return -x", set()),
    ],
)
def test_a_helper_module_is_seen(old, new, changed, load):
    assert old in HELPER
    before, after = code(load(PLAIN)), code(load(PLAIN, HELPER.replace(old, new)))
    assert {n for n in before if before[n] != after[n]} == changed


def test_libraries_elsewhere_are_not_followed(load):
    text = "import numpy as np\ndef build(hp):\n    return np.mean(hp) + np.pi\n"
    assert list(description(load(text).build)) == ["build"]


def test_the_same_in_every_process(tmp_path):
    text = "NAMES = {'b', 'a', 'c'}\ndef build(hp):\n    return hp in NAMES\n"
    (tmp_path / "user.py").write_text(text)
    folder = str(Path(source.__file__).parent)
    found = {
        subprocess.run(
            [
                *(sys.executable, "-c"),
                # Without the package, which takes seconds to import.
                f"import sys; sys.path.append({folder!r}); import source\n"
                "import user; print(source.description(user.build))",
            ],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert "NAMES" in found.pop()


def test_constants(load):
    text = "NAMES = {}\ndef build(hp):\n    return NAMES\n"
    names = {"sizes": [1, [2.5, None]]}
    module = load(text.replace("{}", repr(names)))
    assert description(module.build)["NAMES"] == '{"sizes": [1, [2.5, null]]}'
    long = load(text.replace("{}", "list(range(1000))"))
    assert len(description(long.build)["NAMES"]) == 16


def test_closures_and_recursion():
    def outer(width):
        def build(hp):
            return build(hp) if hp else width

        return build

    assert description(outer(3)) != description(outer(4))
    assert description(outer(3)) == description(outer(3))

    def early():
        return late

    assert list(description(early)) == [early.__qualname__]  # it has no value yet
    late = 3
    assert description(early)["late"] == "3"


def test_code_without_a_file_is_not_compared():
    space = {"__name__": "nowhere"}
    exec("def build(hp):\n    return hp + 1\n", space)
    assert description(space["build"]) == {}


def test_objects_methods_and_partials():
    class Model:
        def __init__(self, width, function=None):
            self.width = width
            self.function = function
            self._cache = object()

        def build(self, hp, depth=1):
            return hp

    assert description(Model(3))["width"] == "3"
    assert description(Model(3)) == description(Model(3).build)
    assert description(Model(3)) != description(Model(4))
    functions = (test_closures_and_recursion, test_constants)
    first, second = (description(Model(3, function)) for function in functions)
    assert first != second
    partial = functools.partial(Model(3).build, depth=2)
    assert description(partial) == {**description(Model(3)), "depth": "2"}


LAMBDA = """
def made(build, max_trials):
    return build

def inner(hp, width):
    return hp + width

one = made(lambda hp: inner(hp, 3), max_trials=30)
same = made(lambda hp: inner(hp, 3), max_trials=40)
lines = made(
    lambda hp: inner(hp, 3),
    max_trials=40,
)
other = made(lambda hp: inner(hp, 4), max_trials=30)
"""


def test_lambda_is_not_the_line_it_stands_in(load):
    module = load(LAMBDA)
    one, same, lines, other = (
        description(getattr(module, n)) for n in ("one", "same", "lines", "other")
    )
    assert one == same == lines != other
    assert sorted(one) == ["<lambda>", "inner"]
