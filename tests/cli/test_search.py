"""`search` and `report`: what the tuners do and find."""

import os
import re
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest
from optuna.trial import create_trial

from keras_share.cli.search import search
from keras_share.search import SearchResults
from keras_share.search.project.study import Project

DOCS = Path(__file__).parents[2] / "docs"

SCRIPT = """
import keras_share.search
from quick_search import Untrained, failing, quick

def tuner(model=None):
    return quick(
        keras_share.search.SharingSearch, "runs", model, max_trials=3,
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
    assert "trials in a row failed" in done.stderr
    assert "no such weights" in done.stderr and done.stdout == ""
    facts = cli_json("report runs/p")
    assert facts["pareto_front"] == [] and len(facts["leaderboard"]) >= 1
    assert "Pareto" not in cli("report runs/p").stdout
    assert "0 completed trials" in cli("report runs/p --plot a.png", 1).stderr


@pytest.mark.parametrize(
    "function, message",
    [
        ("train.py:three", "must return a SharingSearch and a dict"),
        ("train.py:stock", "must return a SharingSearch and a dict"),
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
        ("--threads 2", "need --workers"),
        ("--gpus", "need --workers"),
        ("--workers 0", "'--workers'"),
        ("--workers 2 --recycle 0", "'--recycle'"),
    ],
)
def test_options_that_do_not_go_together(options, message, cli, script):
    done = cli(f"search train.py:found {options}", 2)
    assert message in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    "url, message",
    [
        ("postgres", "must be a URL such as postgresql://"),
        ("nodb://user:s3cret@host/db", "Received: nodb://user:***@host/db"),
        ("postgresql://u:s3cret@127.0.0.1:1/db?password=s3cret", "127.0.0.1"),
    ],
)
def test_storages_at_fault_are_told_before_anything_is_started(
    url, message, cli, script, monkeypatch
):
    monkeypatch.delenv("KERAS_SHARE_STORAGE", raising=False)
    if url.startswith("postgresql"):
        pytest.importorskip("psycopg")
    for workers in ("", " --workers 2"):
        done = cli(f"search train.py:found --storage {url}{workers}", 1)
        assert message in done.stderr
        assert "s3cret" not in done.stderr + done.stdout
        assert "KERAS_SHARE_STORAGE" not in os.environ
    done = cli("search train.py:raises --workers 2", 1)
    assert "Received: IndexError: list index out of range" in done.stderr
    assert not (script / "runs" / "p" / "logs").exists()


def parsed(line):
    """The options of a command line that the documentation shows."""
    words = shlex.split(line)
    return search.make_context("keras-share search", words[words.index("search") + 1 :])


def test_commands_of_the_documentation_can_be_typed():
    text = (DOCS / "many_machines.md").read_text().replace("\\\n", " ")
    lines = re.findall(r"keras-share search .*?(?=[`&\n>])", text)
    assert len(lines) >= 3
    for line in lines:
        assert parsed(line).params["function"] == "train.py:sharing"


def test_manifest_of_kubernetes():
    yaml = pytest.importorskip("yaml")
    documents = [*yaml.safe_load_all((DOCS / "kubernetes.yaml").read_text())]
    by_name = {(d["kind"], d["metadata"]["name"]): d["spec"] for d in documents}
    service, server = (
        by_name["Service", "search-db"],
        by_name["Deployment", "search-db"],
    )
    labels = server["template"]["metadata"]["labels"]
    assert service["selector"] == server["selector"]["matchLabels"] == labels
    worker = by_name["Job", "search-worker"]
    (container,) = worker["template"]["spec"]["containers"]
    options = parsed(shlex.join(container["command"])).params
    assert options["workers"] == 1 and options["storage"] is None
    (variables,) = ({v["name"]: v for v in container["env"]},)
    assert "@search-db/" in variables["KERAS_SHARE_STORAGE"]["value"]
    secret = variables["PGPASSWORD"]["valueFrom"]["secretKeyRef"]["name"]
    assert secret == "search-db"
    policy = by_name["NetworkPolicy", "search-db"]
    assert policy["podSelector"]["matchLabels"] == labels
    (allowed,) = policy["ingress"][0]["from"]
    assert (
        allowed["podSelector"]["matchLabels"]
        == (worker["template"]["metadata"]["labels"])
    )
    (volume,) = server["template"]["spec"]["volumes"]
    claim = volume["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in by_name


def test_folders_at_fault(cli, here):
    assert "must be the folder of a search" in cli("report p", 1).stderr
    Project(here / "p", None, {"a": "max"})
    assert "must have a trial that has ended" in cli("report p", 1).stderr
    (here / "q").mkdir()
    (here / "q" / "study.db").write_bytes(b"no database" * 99)
    assert "file is not a database" in cli("report q", 1).stderr


def test_rows_may_hold_what_json_lacks(cli_json, here):
    project = Project(here / "p", None, {"a": "max"})
    attributes = {"b": float("nan"), "a": 0.5, "_measures": []}
    project.study.add_trial(create_trial(values=[0.5], user_attrs=attributes))
    (found,) = cli_json("report p --column a")["pareto_front"]
    assert (found["a"], found["b"]) == (0.5, None)
