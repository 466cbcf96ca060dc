"""Code is known by what it does, not by how it is written."""

import functools
import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_share.search.project import source
from keras_share.search.project.source import definitions, description

PLAIN = '''
import math

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
        return helper(hp) + self.size()

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

_NUMBERS = itertools.count()


def load(text, tmp_path, name="user_module", with_source=True):
    path = tmp_path / f"{name}_{next(_NUMBERS)}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    module.__spec__.loader.exec_module(module)
    if not with_source:
        path.unlink()
    return module


@pytest.mark.parametrize("with_source", [True, False])
def test_what_is_followed(tmp_path, with_source):
    module = load(PLAIN, tmp_path, with_source=with_source)
    assert sorted(definitions(module.build)) == [
        *("Base", "Model", "SIZES", "WIDTH", "build", "helper", "inner", "other")
    ]
    assert definitions(module.build)["WIDTH"] == "32"


@pytest.mark.parametrize("with_source", [True, False])
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
        ("return x", "return  (  x)", set()),
        ("def other(i):", "def other(i):  # of all", set()),
        ("def other(i):", "\n\n\ndef other(\n    i,\n):", set()),
        ('"""A model."""', '"""Another text."""', set()),
        ("return Model()", "return (\n        Model()\n    )", set()),
    ],
)
def test_what_counts_as_a_change(old, new, changed, with_source, tmp_path):
    before = definitions(load(PLAIN, tmp_path, with_source=with_source).build)
    text = PLAIN.replace(old, new)
    after = definitions(load(text, tmp_path, with_source=with_source).build)
    assert {n for n in before if before[n] != after[n]} == changed
    assert before.keys() == after.keys()


def test_constants():
    space = {"__name__": "nowhere"}
    exec("NAMES = {'b', 'a', 'c'}\ndef build(hp):\n    return NAMES\n", space)
    assert definitions(space["build"])["NAMES"] == "{'a', 'b', 'c'}"
    space["NAMES"] = {"sizes": [1, (2.5, None)]}
    assert definitions(space["build"])["NAMES"] == "{'sizes': (1, (2.5, None))}"
    space["NAMES"] = list(range(1000))
    assert len(definitions(space["build"])["NAMES"]) == 16


@pytest.mark.parametrize("with_source", [True, False])
def test_the_same_in_every_process(with_source, tmp_path):
    text = "NAMES = {'b', 'a', 'c'}\ndef build(hp):\n    return hp in {'x', 'y', 'z'}"
    if with_source:
        (tmp_path / "user.py").write_text(text + " and NAMES\n")
        build = "import user; build = user.build"
    else:
        build = f"exec({text + ' and NAMES'!r})"
    folder = str(Path(source.__file__).parent)
    found = {
        subprocess.run(
            [
                *(sys.executable, "-c"),
                # Without the package, which takes seconds to import.
                f"import sys; sys.path.append({folder!r}); import source\n"
                f"{build}; print(source.definitions(build))",
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


def test_closures_and_recursion():
    def outer(width):
        def build(hp):
            return build(hp) if hp else width

        return build

    assert definitions(outer(3)) != definitions(outer(4))
    assert definitions(outer(3)) == definitions(outer(3))


def test_code_without_a_file():
    spaces = [{"__name__": "nowhere"} for _ in range(3)]
    for text, space in zip(["hp + 1", "hp + 1 # same", "hp + 2"], spaces, strict=True):
        exec(f"def build(hp):\n    return {text}\n", space)
    one, same, other = (definitions(space["build"]) for space in spaces)
    assert one == same != other


def test_objects_methods_and_partials(tmp_path):
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
    first, second = (
        description(Model(3, f)) for f in (test_closures_and_recursion, load)
    )
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


def test_lambda_is_not_the_line_it_stands_in(tmp_path):
    module = load(LAMBDA, tmp_path)
    one, same, lines, other = (
        definitions(getattr(module, name)) for name in ("one", "same", "lines", "other")
    )
    assert one == same == lines != other
    assert sorted(one) == ["<lambda>", "inner"]
