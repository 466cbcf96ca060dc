"""`search` and `report`: what the tuners do and find."""

import gc
import json
import re
import shlex
import socket
import sys
from pathlib import Path

import pandas as pd
import pytest

from keras_share.cli.search import search
from keras_share.search import SearchResults

DOCS = Path(__file__).parents[2] / "docs"

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
    said, *trials = done.stderr.splitlines()
    assert said == "from the script"
    assert [line.split("  ")[0] for line in trials] == [
        f"trial {number}/3" for number in (1, 2, 3)
    ]
    head, _, *lines = done.stdout.splitlines()
    assert head.split()[:3] == ["pattern", "num_groups", "parameters"]
    assert lines[3:5] == ["", "Pareto front"]
    results = SearchResults.load("runs/p")
    board = results.leaderboard()
    front = results.pareto_front("parameters", "val_accuracy")
    assert [row.split()[0] for row in lines[:3]] == list(board["pattern"])
    shown = lines[7 : 7 + len(front)]
    assert [row.split()[0] for row in shown] == list(front["pattern"])
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

    columns = "--column kb --column parameters"
    cli(f"report runs/p --csv board.csv --plot front.png {columns}")
    assert len(pd.read_csv("board.csv")) == 3
    assert (script / "front.png").read_bytes().startswith(b"\x89PNG")
    facts = cli_json(f"report runs/p {columns}")
    assert len(facts["pareto_front"]) == 1
    done = cli("report runs/p --column size", 1)
    assert "--column must be names of columns" in done.stderr


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


@pytest.mark.parametrize(
    "options, message",
    [
        ("--host 0.0.0.0", "need --workers"),
        ("--port 8765", "need --workers"),
        ("--join first:8765", "need --workers"),
        ("--threads 2", "need --workers"),
        ("--workers 2 --join first:8765 --port 8765", "neither --host nor --port"),
        ("--workers 2 --join first:8765 --host 0.0.0.0", "neither --host nor --port"),
        ("--workers 0 --join first:8765", "--workers of at least 1"),
        ("--workers 0", "--workers 0 needs --host"),
        ("--workers -1", "'--workers'"),
        ("--workers 2 --recycle 0", "'--recycle'"),
        ("--workers 2 --port 70000", "'--port'"),
        ("--workers 2 --join first", "HOST:PORT, such as first:8765"),
        ("--workers 2 --join first:", "HOST:PORT, such as first:8765"),
        ("--workers 2 --join :8765", "HOST:PORT, such as first:8765"),
    ],
)
def test_options_that_do_not_go_together(options, message, cli, script):
    done = cli(f"search train.py:found {options}", 2)
    assert message in " ".join(done.stderr.split())


def test_faults_are_told_before_anything_is_started(cli, script):
    done = cli("search train.py:raises --workers 2", 1)
    assert "Received: IndexError: list index out of range" in done.stderr
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = cli(f"search train.py:found --workers 2 --port {port}", 1)
    assert "--port must be an address of this machine where nobody" in done.stderr
    assert not (script / "runs").exists()


def parsed(line):
    """The options of a command line that the documentation shows."""
    words = shlex.split(line)
    return search.make_context("keras-share search", words[words.index("search") + 1 :])


def test_commands_of_the_documentation_can_be_typed():
    text = (DOCS / "many_machines.md").read_text().replace("\\\n", " ")
    lines = re.findall(r"keras-share search .*?(?=[`&\n>])", text)
    assert len(lines) >= 8
    for line in lines:
        assert parsed(line).params["function"] == "train.py:sharing"


def test_manifest_of_kubernetes():
    yaml = pytest.importorskip("yaml")
    documents = yaml.safe_load_all((DOCS / "kubernetes.yaml").read_text())
    by_name = {(d["kind"], d["metadata"]["name"]): d["spec"] for d in documents}
    service = by_name["Service", "search"]
    policy = by_name["NetworkPolicy", "search"]
    chief, worker = (by_name["Job", f"search-{role}"] for role in ("chief", "worker"))
    serve, join = (
        parsed(shlex.join(job["template"]["spec"]["containers"][0]["command"])).params
        for job in (chief, worker)
    )
    port = serve["port"]
    assert (
        join["address"] == f"search:{port}" == f"search:{service['ports'][0]['port']}"
    )
    assert policy["ingress"][0]["ports"] == service["ports"]
    assert (serve["host"], serve["workers"]) == ("0.0.0.0", 0) and join["workers"] == 1
    labels = chief["template"]["metadata"]["labels"]
    assert service["selector"] == policy["podSelector"]["matchLabels"] == labels
    (allowed,) = policy["ingress"][0]["from"]
    assert (
        allowed["podSelector"]["matchLabels"]
        == (worker["template"]["metadata"]["labels"])
    )
    # Pods keep their names, by which the chief knows whose trial is whose.
    assert worker["completionMode"] == "Indexed"
    (volume,) = chief["template"]["spec"]["volumes"]
    claim = volume["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in by_name


@pytest.mark.filterwarnings("default:.*is damaged and left out:UserWarning")
@pytest.mark.parametrize("content", ["{", "[]", "{}", "3", '{"objective": "a"}'])
def test_folders_at_fault(content, cli, here):
    (here / "p" / "results").mkdir(parents=True)
    assert "in which at least one trial has ended" in cli("report p", 1).stderr
    (here / "p" / "results" / "0.json").write_text(content)
    done = cli("report p", 1)
    assert "0.json' is damaged and left out" in done.stderr
    assert "in which at least one trial has ended" in done.stderr


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
