"""`keras-share compress`: what it passes on, and what it says."""

import keras
import pytest
from click.testing import CliRunner

import keras_share.search
from keras_share.cli.main import program
from keras_share.search.compression.plan import Plan

DATA = """
import numpy as np

def load():
    x = np.zeros((40, 4), "float32")
    return (x, x), (x, x)

def three():
    return 3

def fails():
    return [][1]

def build(width):
    return width
"""
PLAN = Plan({"dense": 3}, {}, 5, 20, 5, "val_loss", 60.0)


class Found:
    fits = False
    reason = "No file keeps the budget."

    def to_dict(self):
        return {"fits": False}

    def __str__(self):
        return "# the report"


def run(*arguments):
    return CliRunner().invoke(program, arguments)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What `compress` was called with; the working folder has `data.py`."""
    calls = []

    def compress(*args, **kwargs):
        calls.append((args, kwargs))
        return PLAN if kwargs["dry_run"] else Found()

    (tmp_path / "data.py").write_text(DATA)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keras_share.search, "compress", compress, raising=False)
    return calls


def test_it_passes_on_what_it_was_told(asked):
    done = run(
        *("compress", "model.keras", "--data", "data.py:load", "--max-bytes", "60k"),
        *("--max-memory", "2Ki", "--quantization", "int8", "--dry-run"),
    )
    assert done.exit_code == 0
    assert "3 sites from 'dense' on: 5 candidates" in done.stdout
    [((model, train, validation), options)] = asked
    assert model == "model.keras"
    assert train[0].shape == validation[0].shape == (40, 4)
    assert options["max_bytes"] == 60_000
    assert options["max_memory"] == 2048
    assert options["quantizations"] == ("int8",)
    assert options["test"] is None


def test_a_function_of_the_width(asked):
    arguments = ["--data", "data.py:load", "--widths", "8, 16", "--dry-run"]
    assert run("compress", "data.py:build", *arguments).exit_code == 0
    [((build, *_), options)] = asked
    assert build(3) == 3
    assert options["widths"] == [8, 16]


def test_a_budget_that_no_file_keeps_is_code_3(asked):
    done = run("compress", "model.keras", "--data", "data.py:load")
    assert done.exit_code == 3
    assert "# the report" in done.stdout
    assert "No file keeps the budget" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--data", "data.py:load", "--max-bytes", "60x"], 2, "60k (thousands)"),
        (["--data", "data.py:load", "--max-bytes", "0k"], 2, "number of bytes"),
        (["--data", "data.py"], 2, "name of a function"),
        (["--data", "data.py:three"], 1, "must return two or three things"),
        (["--data", "data.py:fails"], 1, "must run without an error"),
        (["--data", "data.py:load", "--widths", "8;9"], 2, "with commas between"),
    ],
)
def test_what_it_refuses(asked, arguments, code, said):
    done = run("compress", "model.keras", *arguments)
    assert done.exit_code == code
    assert said in " ".join(done.stderr.split())
    assert not asked


def test_without_a_model_it_says_how_to_save_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.py").write_text(DATA)
    done = run("compress", "none.keras", "--data", "data.py:load")
    assert done.exit_code == 1
    assert "none.keras" in done.stderr
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)]).save("plain.keras")
    done = run("compress", "plain.keras", "--data", "data.py:load")
    assert done.exit_code == 1
    assert "must be compiled" in done.stderr
