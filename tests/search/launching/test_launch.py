"""Searches by real processes, some of which are killed."""

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from quick_search import Untrained, patterns, quick

from keras_share.search import SearchResults, SharingSearch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

TESTS = Path(__file__).parents[2]
MAX_TRIALS = 8
# Nothing is trained here, so it need not be TensorFlow, which takes long to import.
ENVIRONMENT = {"PYTHONPATH": str(TESTS), "KERAS_BACKEND": "numpy"}

# A trial writes when it begins and ends. The worker that is to be killed waits for it
# in its first trial; the other waits after its first for the late command.
SCRIPT = f"""
import gc, os, time
from pathlib import Path
import keras_share.search
from quick_search import Untrained, failing, quick

gc.freeze()  # KerasTuner's `gc.collect` in every trial would walk all of Keras

def note(*words):
    name = os.environ.get("KERAS_SHARE_WORKER", "alone")
    with open("notes.txt", "a") as file:
        file.write(" ".join((name, *words)) + "\\n")

class Noting(Untrained):
    def fit(self, hp, model, callbacks):
        name = os.environ.get("KERAS_SHARE_WORKER", "alone")
        note("begin", str(self.pattern))
        while name.endswith("-0") and not Path("release").exists():
            time.sleep(0.02)
        while name.endswith("-1") and not Path("late").exists() and self.fits > 0:
            time.sleep(0.02)
        if name == "alone":
            Path("late").touch()
        scores = super().fit(hp, model, callbacks)
        note("end", str(self.pattern))
        return scores

def sharing():
    tuner = quick(
        keras_share.search.SharingSearch, "runs", Noting(), max_trials={MAX_TRIALS},
        project_name="p", measure=lambda model: {{"kb": model.count_params()}},
        policy="random",
    )
    return tuner, {{}}

def fails():
    from keras_share import SharingPattern
    every = [str(pattern) for pattern in SharingPattern.all(4)]
    tuner = quick(
        keras_share.search.SharingSearch, "runs", failing(every), project_name="f"
    )
    return tuner, {{}}
"""


class Processes:
    """Commands in a folder, started as in a terminal of their own."""

    def __init__(self, folder):
        self.folder = folder
        self.running = []

    def start(self, line):
        # A process that a shell started in the background may ignore Ctrl-C.
        code = (
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from keras_share.cli.main import main; main()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, *line.split()],
            cwd=self.folder,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def notes(self):
        """Worker, "begin" or "end", and pattern of what trials noted."""
        path = self.folder / "notes.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split() for line in lines]

    def wait_for(self, holds, process):
        end = time.monotonic() + 120
        while not holds():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)

    def workers(self):
        """Process ids of the workers by the number in their name."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                arguments = folder.joinpath("cmdline").read_bytes().decode()
                here = os.readlink(folder / "cwd") == str(self.folder)
                if here and "launching.worker" in arguments:
                    settings = folder.joinpath("environ").read_bytes().decode()
                    name = settings.partition("KERAS_SHARE_WORKER=")[2]
                    found[name.partition("\0")[0][-1]] = int(folder.name)
        return found

    def end(self):
        for process in self.running:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launch").resolve()
    (folder / "train.py").write_text(SCRIPT)
    made = Processes(folder)
    yield made
    made.end()


@pytest.fixture(scope="module")
def interrupted(processes):
    """A search that was ended with Ctrl-C in its first trial."""
    process = processes.start("search train.py:sharing --workers 1")
    processes.wait_for(processes.notes, process)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err, time.monotonic() - begun, processes.workers()


@pytest.fixture(scope="module")
def searched(processes, interrupted):
    """The same search, gone on with: a worker is killed, and one comes late."""
    first = processes.start("search train.py:sharing --json --workers 2")

    def both_are_busy():
        return {"0", "1"} <= {name[-1] for name, *_ in processes.notes()[1:]}

    processes.wait_for(both_are_busy, first)
    killed = processes.workers()["0"]
    os.kill(killed, signal.SIGKILL)
    late = processes.start("search train.py:sharing --json")
    processes.wait_for((processes.folder / "late").exists, late)
    (processes.folder / "release").touch()
    out, err = first.communicate(timeout=120)
    assert first.returncode == 0, err
    late_out, late_err = late.communicate(timeout=60)
    assert late.returncode == 0, late_err
    return json.loads(out), err, json.loads(late_out)


def test_ctrl_c_ends_every_process(interrupted):
    code, out, err, seconds, workers = interrupted
    assert (code, out, workers) == (130, "", {})
    assert "Interrupted." in err and "Traceback" not in err
    assert seconds < 10


def test_no_trial_is_lost_or_run_again(processes, searched):
    board = searched[0]["leaderboard"]
    assert searched[2]["leaderboard"] == board
    assert len(board) == MAX_TRIALS
    assert {row["status"] for row in board} == {"COMPLETED"}
    begun = collections.Counter(n[2] for n in processes.notes() if n[1] == "begin")
    ended = collections.Counter(n[2] for n in processes.notes() if n[1] == "end")
    assert set(ended.values()) == {1}
    assert ended.keys() == {row["pattern"] for row in board}
    # The one of Ctrl-C, and the one of the killed worker, which may be the same.
    assert begun.total() - ended.total() == 2


def test_all_take_part(processes, searched):
    done = {name[-1] for name, word, _ in processes.notes() if word == "end"}
    assert done >= {"1", "e"}  # the other worker, and the late command "alone"


def test_the_patterns_are_those_of_one_process(searched, tmp_path):
    tuner = quick(
        *(SharingSearch, tmp_path, Untrained()),
        **{"max_trials": MAX_TRIALS, "policy": "random"},
    )
    tuner.search(verbose=0)
    board = searched[0]["leaderboard"]
    assert {row["pattern"] for row in board} == {*patterns(tuner)}


def test_what_is_said(processes, searched):
    err = searched[1]
    assert f"trial {MAX_TRIALS}/{MAX_TRIALS}  " in err
    assert "Traceback" not in err
    logs = {path.name[-5:] for path in (processes.folder / "runs/p/logs").iterdir()}
    assert logs == {"0.log", "1.log"}
    assert len(SearchResults.load(processes.folder / "runs" / "p")) == MAX_TRIALS


def test_a_search_of_failures_ends_and_says_why(processes):
    done = processes.start("search train.py:fails --workers 1")
    out, err = done.communicate(timeout=120)
    assert (done.returncode, out) == (1, "")
    assert "3 trials in a row failed, trial 2 with: OSError: no such weights" in err
    assert "Traceback" not in err
    assert processes.workers() == {}
