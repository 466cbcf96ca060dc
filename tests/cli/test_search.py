"""`search` and `report`: what the tuners do and find."""

import gc
import json
import sys

import pandas as pd
import pytest

from keras_share.search import SearchResults

SCRIPT = """
import keras_share.search
from quick_search import Untrained, failing, quick

def tuner(model=None):
    return quick(
        keras_share.search.RandomSearch, "runs", model, max_trials=3,
        project_name="p", measure=lambda model: {"kb": model.count_params()},
    )

def found():
    print("from the script")
    return tuner(), {}

def data():
    return tuner(), {"verbose": 3}

def three():
    return 3

def stock():
    import keras_tuner
    return keras_tuner.RandomSearch(Untrained(), "val_loss", project_name="s"), {}

def raises():
    return [][1]

def fails():
    from keras_share import SharingPattern
    return tuner(failing([str(p) for p in SharingPattern.all(4)])), {}
"""


@pytest.fixture(autouse=True, scope="module")
def fast_collection():
    """Keeps KerasTuner's `gc.collect` in every trial from walking all of TensorFlow."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def script(here, monkeypatch):
    # Both are added to, as `python train.py` does.
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "train", None)
    (here / "train.py").write_text(SCRIPT)
    return here


def test_search_and_report(cli, cli_json, script):
    done = cli("search train.py:found")
    assert done.stderr == "from the script\n"
    head, _, *lines = done.stdout.splitlines()
    assert head.split()[:3] == ["pattern", "num_groups", "parameters"]
    assert lines[3:5] == ["", "Pareto front"]
    results = SearchResults.load("runs/p")
    board, front = results.leaderboard(), results.pareto_front("parameters")
    assert [row.split()[0] for row in lines[:3]] == list(board["pattern"])
    assert [row.split()[0] for row in lines[7:]] == list(front["pattern"])
    assert cli("report runs/p").stdout == done.stdout

    facts = cli_json("report runs/p")
    assert cli_json("search train:found") == facts  # it has ended
    assert (facts["objective"], facts["direction"]) == ("val_accuracy", "max")
    for name, frame in {"leaderboard": board, "pareto_front": front}.items():
        assert [list(row) for row in facts[name]] == [list(frame)] * len(frame)
        assert [row["trial_id"] for row in facts[name]] == list(frame["trial_id"])
        assert [row["val_accuracy"] for row in facts[name]] == list(
            frame["val_accuracy"]
        )
    assert all(row["exported_bytes"] is None for row in facts["leaderboard"])

    cli("report runs/p --csv board.csv --plot front.png --x kb --y parameters")
    assert len(pd.read_csv("board.csv")) == 3
    assert (script / "front.png").read_bytes().startswith(b"\x89PNG")
    facts = cli_json("report runs/p --x kb --y parameters")
    assert len(facts["pareto_front"]) == 1
    done = cli("report runs/p --x size", 1)
    assert "--x and --y must be columns" in done.stderr


def test_a_search_that_only_failed(cli, cli_json, script):
    done = cli("search train.py:fails", 1)
    assert "train.py:fails must run without an error" in done.stderr
    assert "no such weights" in done.stderr and done.stdout == ""
    facts = cli_json("report runs/p")
    assert facts["pareto_front"] == [] and len(facts["leaderboard"]) >= 1
    assert "Pareto" not in cli("report runs/p").stdout
    assert "0 completed trials" in cli("report runs/p --plot a.png", 1).stderr


@pytest.mark.parametrize(
    "function, message",
    [
        ("train.py:three", "must return a tuner of keras_share.search and a dict"),
        ("train.py:stock", "must return a tuner of keras_share.search and a dict"),
        ("train.py:raises", "Received: IndexError: list index out of range"),
        ("train.py:gone", "AttributeError: module 'train' has no attribute 'gone'"),
        ("train.py:data", "`verbose` must be 'auto'"),
        ("gone.py:found", "There is no file 'gone.py'"),
        ("no_such_module:found", "No module named 'no_such_module'"),
    ],
)
def test_functions_at_fault(function, message, cli, script):
    done = cli(f"search {function}", 1)
    assert message in done.stderr and "Traceback" not in done.stderr
    assert "Traceback" in cli(f"search {function} --debug", 1).stderr


@pytest.mark.parametrize("function", ["train.py", "train.py:", ":found", "a:b-c"])
def test_functions_of_another_form(function, cli, script):
    assert "such as train.py:sharing" in cli(f"search {function}", 2).stderr


@pytest.mark.parametrize("content", ["{", "[]", "{}", "3", '{"objective": "a"}'])
def test_folders_at_fault(content, cli, here):
    (here / "p" / "results").mkdir(parents=True)
    assert "in which at least one trial has ended" in cli("report p", 1).stderr
    (here / "p" / "results" / "0.json").write_text(content)
    done = cli("report p", 1)
    assert "FOLDER must be a folder with what keras_share.search wrote" in done.stderr


def test_rows_may_hold_what_json_lacks(cli_json, here):
    number = {"value": float("nan"), "direction": "max"}
    row = {
        **dict.fromkeys(("message", "num_groups", "parameters", "seconds")),
        **{"trial_id": "0", "status": "COMPLETED", "pattern": "\x1b", "score": 0.5},
        **{"objective": "a", "direction": "max", "metrics": {"a": number, "b": number}},
        **{"measures": {"exported_bytes": 7}, "hyperparameters": {"units": [1]}},
    }
    (here / "p" / "results").mkdir(parents=True)
    (here / "p" / "results" / "0.json").write_text(json.dumps(row))
    (found,) = cli_json("report p")["pareto_front"]
    assert (found["a"], found["b"], found["hp/units"]) == (0.5, None, [1])
