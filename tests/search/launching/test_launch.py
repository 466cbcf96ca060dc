"""Searches by real processes, some of which are killed."""

import collections
import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from click.testing import CliRunner
from quick_search import Untrained, patterns, quick

from keras_share.cli.main import program
from keras_share.search import RandomSearch, SearchResults
from keras_share.search.display.progress import SilentProgress
from keras_share.search.launching import launch
from keras_share.search.launching.chief import Chief

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills as POSIX does")

TESTS = Path(__file__).parents[2]
MAX_TRIALS = 10
# Nothing is trained here, so it need not be TensorFlow, which takes long to import.
ENVIRONMENT = {"PYTHONPATH": str(TESTS), "KERAS_BACKEND": "numpy"}

# A trial writes when it begins and ends. The worker that is to be killed waits for it
# in its first trial, the late one for both, and the other for the late one, so that all
# get some trials.
SCRIPT = f"""
import gc, os, time
from pathlib import Path
import keras_share.search
from quick_search import Untrained, failing, quick

gc.freeze()  # KerasTuner's `gc.collect` in every trial would walk all of Keras

def note(*words):
    with open("notes.txt", "a") as file:
        file.write(" ".join((os.environ["KERASTUNER_TUNER_ID"], *words)) + "\\n")

def both_are_busy():
    names = [line.split()[0] for line in open("notes.txt")]
    return {{"tuner0", "tuner1"}} <= {{*names[1:]}}  # the first is of the search before

class Noting(Untrained):
    def fit(self, hp, model, callbacks):
        name = os.environ["KERASTUNER_TUNER_ID"]
        note("begin", str(self.pattern))
        while name == "tuner0" and not Path("release").exists():
            time.sleep(0.02)
        while name.startswith("tuner") and not Path("late").exists() and self.fits > 0:
            time.sleep(0.02)
        if not name.startswith("tuner"):
            while not both_are_busy():
                time.sleep(0.02)
            Path("late").touch()
        scores = super().fit(hp, model, callbacks)
        note("end", str(self.pattern))
        return scores

def sharing():
    tuner = quick(
        keras_share.search.RandomSearch, "runs", Noting(), max_trials={MAX_TRIALS},
        project_name="p", measure=lambda model: {{"kb": model.count_params()}},
    )
    return tuner, {{}}

def fails():
    from keras_share import SharingPattern
    every = [str(pattern) for pattern in SharingPattern.all(4)]
    tuner = quick(
        keras_share.search.RandomSearch, "runs", failing(every), project_name="f"
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
        """Process ids of the workers by name."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                arguments = folder.joinpath("cmdline").read_bytes().decode()
                here = os.readlink(folder / "cwd") == str(self.folder)
                if here and "launching.worker" in arguments:
                    settings = folder.joinpath("environ").read_bytes().decode()
                    name = settings.partition("KERASTUNER_TUNER_ID=")[2]
                    found[name.partition("\0")[0]] = int(folder.name)
        return found

    def end(self):
        for process in self.running:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    if sys.platform != "linux":
        pytest.skip("reads /proc")
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
    assert list(processes.workers()) == ["tuner0"]
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err, time.monotonic() - begun, processes.workers()


@pytest.fixture(scope="module")
def searched(processes, interrupted):
    """The same search, gone on with: a worker is killed, and one joins late."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = "search train.py:sharing --json --workers"
    chief = processes.start(f"{line} 2 --host 0.0.0.0 --port {port}")
    late = processes.start(f"{line} 1 --join localhost:{port}")

    def both_are_busy():
        return {"tuner0", "tuner1"} <= {note[0] for note in processes.notes()[1:]}

    processes.wait_for(both_are_busy, chief)
    os.kill(processes.workers()["tuner0"], signal.SIGKILL)
    (processes.folder / "release").touch()
    results = processes.folder / "runs" / "p" / "results"
    processes.wait_for(lambda: len([*results.glob("*.json")]) == MAX_TRIALS, chief)
    last = time.monotonic()
    out, err = chief.communicate(timeout=120)
    seconds = time.monotonic() - last
    assert chief.returncode == 0, err
    late_out, late_err = late.communicate(timeout=60)
    assert late.returncode == 0, late_err
    return json.loads(out), err, seconds, json.loads(late_out)


def test_ctrl_c_ends_every_process(interrupted):
    code, out, err, seconds, workers = interrupted
    assert (code, out, workers) == (130, "", {})
    assert "Interrupted." in err and "Traceback" not in err
    assert seconds < 10


def test_no_trial_is_lost_or_run_again(processes, searched):
    board = searched[0]["leaderboard"]
    assert sorted(row["trial_id"] for row in board) == [
        f"{number:02}" for number in range(MAX_TRIALS)
    ]
    assert {row["status"] for row in board} == {"COMPLETED"}
    begun = collections.Counter(n[2] for n in processes.notes() if n[1] == "begin")
    ended = collections.Counter(n[2] for n in processes.notes() if n[1] == "end")
    assert set(ended.values()) == {1}
    assert ended.keys() == {row["pattern"] for row in board}
    # The one of Ctrl-C, and the one of the killed worker, which may be the same.
    assert begun.total() - ended.total() == 2


def test_a_killed_worker_gets_its_trial_back(processes, searched):
    notes = [note for note in processes.notes() if note[0] == "tuner0"]
    killed = notes[1]
    assert [word for _, word, _ in notes[:4]] == ["begin", "begin", "begin", "end"]
    assert notes[2] == killed


def test_a_late_worker_takes_part(processes, searched):
    names = {note[0] for note in processes.notes()}
    (late,) = names - {"tuner0", "tuner1"}
    assert late.startswith(f"{socket.gethostname()}-".replace("chief", "first"))
    done = [n for n in processes.notes() if n[:2] == [late, "end"]]
    assert len(searched[3]["trials"]) == len(done) >= 1


def test_the_search_ends_soon_after_its_last_trial(searched):
    assert searched[2] < 12  # 20 and more with KerasTuner's own chief


def test_the_leaderboard_is_that_of_one_process(searched, tmp_path):
    tuner = quick(RandomSearch, tmp_path, Untrained(), max_trials=MAX_TRIALS)
    tuner.search(verbose=0)
    board = searched[0]["leaderboard"]
    assert {row["trial_id"]: row["pattern"] for row in board} == {
        f"{number:02}": pattern for number, pattern in enumerate(patterns(tuner))
    }
    scores = {row["trial_id"]: row["val_accuracy"] for row in board}
    # KerasTuner sends metrics in single precision.
    assert scores == pytest.approx(
        {row.trial_id: row.score for row in tuner.results.records}, rel=1e-6
    )


def test_what_is_said(processes, searched):
    err = searched[1]
    assert "Others join with --join " in err
    assert f"trial {MAX_TRIALS}/{MAX_TRIALS}  " in err
    assert "Traceback" not in err
    logs = {path.name for path in (processes.folder / "runs/p/logs").iterdir()}
    assert {"tuner0.log", "tuner1.log"} < logs and len(logs) == 3
    assert len(SearchResults.load(processes.folder / "runs" / "p")) == MAX_TRIALS


def test_a_search_of_failures_ends_and_says_why(processes, monkeypatch):
    monkeypatch.chdir(processes.folder)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    heard = set()
    monkeypatch.setattr(Chief, "hear", lambda self, trials: heard.update(trials))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "train", None)
    before = dict(os.environ)
    # In this process, to save the time of another.
    done = CliRunner().invoke(program, ["search", "train.py:fails", "--workers", "1"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "train.py:fails must run without an error" in done.stderr
    assert "with: OSError: no such weights" in done.stderr
    assert "tuner0.log" in done.stderr and "Traceback" not in done.stderr
    assert processes.workers() == {} and dict(os.environ) == before
    assert heard == {"00", "01", "02"}


def test_trials_elsewhere_are_no_lost_ones(monkeypatch):
    monkeypatch.setattr(launch, "HEARTBEAT", 0.01)
    asked = queue.Queue()

    class Client:
        def get_trial(self, trial_id):
            asked.put(trial_id)
            raise grpc.RpcError  # a chief that is gone, and back

    crew = SimpleNamespace(trials={"07"})
    with launch._signs_of_life(Client(), crew):
        assert [asked.get(timeout=10) for _ in range(3)] == ["07"] * 3
        crew.trials = {"08"}
        while asked.get(timeout=10) != "08":
            pass


def test_a_chief_that_does_not_answer(monkeypatch):
    for name, value in {"HEARTBEAT": 0, "_TICK": 0.01, "_SILENCE": 0.1}.items():
        monkeypatch.setattr(launch, name, value)
    answers = iter([True, False, True, *[False] * 99])
    monkeypatch.setattr(launch, "_answers", lambda *address: next(answers))
    checks = []
    crew = SimpleNamespace(is_done=False, check=lambda: checks.append(time.monotonic()))
    place = "first", 8765, queue.SimpleQueue(), SilentProgress()
    assert launch._is_served(crew, *place) is False
    assert len(checks) > 3 and checks[-1] - checks[2] > 0.1  # after the last answer
