"""Worker processes that end in all ways; here they are scripts without Keras."""

import itertools
import os
import sys
import time

import pytest

from keras_share.search.launching.crew import MAX_DEATHS, Crew, environments
from keras_share.search.launching.worker import MORE

# Every process does the next of the acts.
WORKER = """
import os, signal, sys
from pathlib import Path

name = os.environ["KERAS_SHARE_WORKER"]
turn = Path(f"{name}.turn")
number = int(turn.read_text()) if turn.exists() else 0
turn.write_text(str(number + 1))
acts = sys.argv[1].split()
act, _, value = acts[min(number, len(acts) - 1)].partition(":")
print("line of", os.environ.get("CUDA_VISIBLE_DEVICES"), value, flush=True)
if act == "exit":
    os._exit(int(value))
elif act == "die":
    os.kill(os.getpid(), signal.SIGKILL)
elif act == "wait":
    os.read(0, 1)
"""


@pytest.fixture
def crew(tmp_path, monkeypatch):
    """A function from what each process in turn does to a crew that was started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    crews = []

    def start(acts, *names, environment=None):
        command = [sys.executable, "-S", "-c", WORKER, acts]
        own = dict.fromkeys(names, environment or {})
        crews.append(Crew(command, own, tmp_path / "logs"))
        return crews[-1].__enter__()

    yield start
    for made in crews:
        made.__exit__()


def run(crew, ended=lambda: 0):
    """Watches a crew until it is done."""
    end = time.monotonic() + 30
    while crew.processes:
        crew.check(ended())
        assert time.monotonic() < end
        time.sleep(0.01)


def turns(name="a"):
    with open(f"{name}.turn") as file:
        return int(file.read())


def test_the_dead_and_the_replaced_come_back_until_all_is_over(crew):
    run(crew(f"exit:{MORE} die exit:{MORE} exit:7 exit:0", "a", "b"))
    assert turns("a") == turns("b") == 5


def test_deaths_with_progress_are_endured(crew):
    made = crew("die " * (2 * MAX_DEATHS) + "exit:0", "a")
    counts = itertools.count(1)
    run(made, ended=lambda: next(counts))  # each has ended one more trial
    assert turns() == 2 * MAX_DEATHS + 1


def test_deaths_without_progress_end_it(crew, tmp_path):
    with pytest.raises(ChildProcessError) as raised:
        run(crew("exit:7", "a"))
    assert turns() == MAX_DEATHS
    message = str(raised.value)
    assert f"a, the last of {MAX_DEATHS} deaths (exit code 7)" in message
    assert "which said: line of None 7\n" in message
    assert str(tmp_path / "logs" / "a.log") in message
    assert (tmp_path / "logs" / "a.log").read_text().count("line") == MAX_DEATHS


def test_an_error_ends_it_at_once(crew):
    with pytest.raises(ChildProcessError, match=r"a, which said: line of None 1\n"):
        run(crew("exit:1", "a"))
    assert turns() == 1


def test_the_end_is_the_end(crew):
    made = crew("wait", "a", "b")
    processes = list(made.processes.values())
    made.__exit__()
    assert all(process.poll() is not None for process in processes)


def test_workers_share_the_cores(monkeypatch):
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(9), raising=False)
    for workers, threads, expected in [(4, None, 2), (20, None, 1), (4, 7, 7)]:
        made = environments(workers, threads, False)
        assert [[one[n] for n in names] for one in made] == [
            [str(expected)] * 3
        ] * workers
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "OMP_NUM_THREADS" not in environments(4, None, False)[0]


def test_a_gpu_each(monkeypatch, tmp_path):
    def given(workers):
        made = environments(workers, 1, True)
        return [one["CUDA_VISIBLE_DEVICES"] for one in made]

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert given(3) == ["2", "5", "2"]
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho GPU-a\necho GPU-b\n")
    tool.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert given(2) == ["GPU-a", "GPU-b"]
    tool.unlink()
    with pytest.raises(ValueError, match=r"gives each worker a GPU.*Received: none"):
        given(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(ValueError, match="Received: none that nvidia-smi"):
        given(2)
