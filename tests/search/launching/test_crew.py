"""Worker processes that end in all ways; here they are scripts without Keras."""

import json
import os
import sys
import time

import pytest

from keras_share.search.launching.crew import MAX_DEATHS, Crew, thread_environment
from keras_share.search.project.record import TrialRecord

# Every process does the next of the lines of `acts`; "tell" writes its words.
WORKER = """
import json, os, signal, sys, time
from pathlib import Path

name = os.environ["KERASTUNER_TUNER_ID"]
turn = Path(f"{name}.turn")
number = int(turn.read_text()) if turn.exists() else 0
turn.write_text(str(number + 1))
acts = json.loads(sys.argv[1])
for act, *values in acts[min(number, len(acts) - 1)]:
    if act == "tell":
        print(json.dumps(values), flush=True)
    elif act == "write":
        sys.stdout.write(values[0])
        sys.stdout.flush()
    elif act == "say":
        print(values[0], file=sys.stderr)
    elif act == "exit":
        os._exit(values[0])
    elif act == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif act == "wait":
        os.read(0, 1)
"""

TRIAL = ["tell", "on_trial", "00"]
RECORD = TrialRecord(
    trial_id="00", status="COMPLETED", objectives={"val_accuracy": "max"}, score=0.5
)
END = ["tell", "on_end", RECORD.to_dict()]
DONE = ["tell", "on_done"]


@pytest.fixture
def crew(tmp_path, monkeypatch):
    """A function from what each process in turn does to a crew that was started."""
    monkeypatch.chdir(tmp_path)
    crews = []

    def start(*acts, names=("a",)):
        events = []
        command = [sys.executable, "-S", "-c", WORKER, json.dumps(acts)]
        made = Crew(
            command, names, tmp_path / "logs", os.environ, lambda *e: events.append(e)
        )
        made.events = events
        crews.append(made)
        made.start()
        return made

    yield start
    for made in crews:
        made.end()


def run(crew):
    """Watches a crew until it is done and gone."""
    end = time.monotonic() + 30
    while any(worker.process for worker in crew.workers):
        crew.check()
        assert time.monotonic() < end
        time.sleep(0.01)


def turns(name="a"):
    with open(f"{name}.turn") as file:
        return int(file.read())


def test_what_workers_tell(crew):
    made = crew([TRIAL, ["tell", "on_epoch", 1, 3], END, DONE], names=("a", "b"))
    run(made)
    assert made.is_done and made.idle == {"a", "b"}
    for name in ("a", "b"):
        mine = [event for event in made.events if event[-1] == name]
        told = [("on_trial", "00", name), ("on_epoch", 1, 3, name)]
        assert mine == [*told, ("on_gone", name)]
        assert turns(name) == 1
    assert made.events.count(("on_end", RECORD)) == 2


def test_a_worker_that_made_room_is_replaced(crew):
    run(crew([TRIAL, END], [TRIAL, END], [DONE]))
    assert turns() == 3


def test_a_dead_worker_comes_back_under_its_name(crew):
    made = crew([TRIAL, ["die"]], [TRIAL, ["write", '["on_e'], ["die"]], [DONE])
    run(made)
    assert turns() == 3
    assert [e for e in made.events if e[0] == "on_gone"] == [("on_gone", "a")] * 3


def test_deaths_with_progress_are_endured(crew):
    acts = [[TRIAL, END, ["die"]]] * (2 * MAX_DEATHS)
    run(crew(*acts, [DONE]))
    assert turns() == 2 * MAX_DEATHS + 1


@pytest.mark.parametrize("trials", [[], [TRIAL]], ids=["at once", "in a trial"])
def test_deaths_without_progress_end_it(crew, tmp_path, trials):
    made = crew([*trials, ["say", "no\ncard"], ["exit", 7]])
    with pytest.raises(ChildProcessError) as raised:
        run(made)
    assert turns() == MAX_DEATHS
    message = str(raised.value)
    assert f"a, which ended {MAX_DEATHS} times in a row (exit code 7)" in message
    assert "last said: card\n" in message
    assert str(tmp_path / "logs" / "a.log") in message
    assert (tmp_path / "logs" / "a.log").read_text() == "no\ncard\n" * MAX_DEATHS


def test_a_crash_after_the_end_is_none(crew):
    run(crew([TRIAL, END, DONE, ["exit", 1]]))
    assert turns() == 1


def test_the_end_is_the_end(crew):
    made = crew([TRIAL, ["wait"]], names=("a", "b"))
    while made.idle:
        time.sleep(0.01)
    processes = [worker.process for worker in made.workers]
    made.end(seconds=60)  # for those that are done, which these are not
    assert all(process.poll() is not None for process in processes)
    assert turns("a") == turns("b") == 1


def test_one_can_be_called_back(crew):
    made = crew([DONE], names=("a", "b"))
    run(made)
    made.start_one()
    made.start_one()  # it runs already
    assert not made.is_done
    run(made)
    assert (turns("a"), turns("b")) == (2, 1)


def test_workers_share_the_cores(monkeypatch):
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(9), raising=False)
    for workers, threads, expected in [(4, None, 2), (20, None, 1), (4, 7, 7)]:
        made = thread_environment(workers, threads)
        assert [made[name] for name in names] == [str(expected)] * 3
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "OMP_NUM_THREADS" not in thread_environment(4, None)
