"""The worker processes of one machine: started, watched, started again."""

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keras_share.search.launching.events import DONE, Emit
from keras_share.search.project.record import TrialRecord

MAX_DEATHS = 5  # in a row, without a trial that ended


@dataclass
class Worker:
    """One worker and its present process."""

    name: str
    log: Path
    process: subprocess.Popen | None = None
    reader: threading.Thread | None = None
    has_trials: bool = False  # this process was given one
    trial: str | None = None  # of a process that died too: the next gets it back
    is_done: bool = False
    deaths: int = 0


class Crew:
    """Worker processes under names of their own, which they keep.

    A worker that dies is started again under its name, which gives it its trial back.

    Args:
        command: The command of a worker.
        names: Their names, KerasTuner's `tuner_id`s.
        logs: Folder for a log of each worker.
        environment: Environment of a worker, without its name.
        emit: Called with what workers tell: the name of a method of `SilentProgress`
            and its arguments.
    """

    def __init__(
        self,
        command: Sequence[str],
        names: Sequence[str],
        logs: Path,
        environment: Mapping[str, str],
        emit: Emit,
    ):
        self._command = list(command)
        self._environment = dict(environment)
        self._emit = emit
        logs.mkdir(parents=True, exist_ok=True)
        self.workers = [Worker(name, logs / f"{name}.log") for name in names]

    @property
    def is_done(self) -> bool:
        """Whether the chief has told each worker that no trials are left."""
        return all(worker.is_done for worker in self.workers)

    @property
    def idle(self) -> set[str]:
        """Names of the workers whose present process was given no trial yet."""
        return {worker.name for worker in self.workers if not worker.has_trials}

    @property
    def trials(self) -> set[str]:
        """Trials that are not lost: their processes live, or are started again."""
        return {one.trial for one in self.workers if one.trial is not None}

    def __enter__(self) -> "Crew":
        """Starts all workers; leaves none behind."""
        for worker in self.workers:
            self._start(worker)
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def check(self) -> None:
        """Starts workers again that died, or that were to make room in memory.

        Raises:
            ChildProcessError: If a worker dies again and again.
        """
        for worker in self.workers:
            if worker.process is None or worker.process.poll() is None:
                continue
            code = worker.process.returncode
            self._clear(worker, worker.process)
            if worker.is_done:
                continue
            if code != 0:
                worker.deaths += 1
            if worker.deaths == MAX_DEATHS:
                raise ChildProcessError(_died(worker, code))
            self._start(worker)

    def end(self, seconds: float = 0.0) -> None:
        """Ends all workers, and lets those that are done take some time for it."""
        for worker in self.workers:
            if worker.process is None:
                continue
            if worker.is_done and seconds:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.process.wait(seconds)
            worker.process.kill()
            worker.process.wait()
            self._clear(worker, worker.process)

    def _start(self, worker: Worker) -> None:
        worker.is_done = worker.has_trials = False
        with open(worker.log, "ab") as log:
            worker.process = subprocess.Popen(
                self._command,
                env={**self._environment, "KERASTUNER_TUNER_ID": worker.name},
                # Closed when this process ends, in whatever way: the worker's sign to
                # end as well.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for this process
            )
        worker.reader = threading.Thread(
            target=self._read, args=(worker, worker.process.stdout), daemon=True
        )
        worker.reader.start()

    def _clear(self, worker: Worker, process: subprocess.Popen) -> None:
        if worker.reader is not None:
            worker.reader.join()
        with process:
            pass  # closes its pipes
        worker.process = None
        worker.has_trials = False
        self._emit("on_gone", worker.name)

    def _read(self, worker: Worker, lines: Iterable[str]) -> None:
        for line in lines:
            if not line.endswith("\n"):
                break  # it died at its word
            event, *values = json.loads(line)
            if event == DONE:
                worker.is_done, worker.trial = True, None
                continue
            if event == "on_end":
                worker.deaths, worker.trial = 0, None
                values = [TrialRecord.from_dict(values[0])]
            else:
                values.append(worker.name)
            if event == "on_trial":
                worker.has_trials, worker.trial = True, values[0]
            self._emit(event, *values)


def thread_environment(num_workers: int, threads: int | None) -> dict[str, str]:
    """Settings for workers that share the cores of a machine and its GPU.

    What the user has set stays.
    """
    if threads is None:
        threads = max(_cores() // max(num_workers, 1), 1)
    chosen = {
        "OMP_NUM_THREADS": threads,
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    return {k: str(v) for k, v in chosen.items() if k not in os.environ}


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _died(worker: Worker, code: int) -> str:
    memory = ", as when memory runs out" if code == -9 else ""
    text = worker.log.read_text(encoding="utf-8", errors="replace").rstrip()
    last = text.splitlines()[-1] if text else "nothing"
    return (
        "A worker must live to end a trial, or it is started again in vain. "
        f"Received: {worker.name}, which ended {worker.deaths} times in a row (exit "
        f"code {code}{memory}) and last said: {last}\nThe whole is in {worker.log}. "
        "What was found is kept: the same command goes on."
    )
