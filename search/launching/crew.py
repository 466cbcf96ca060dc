"""The worker processes of one machine: started, watched, started again."""

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keras_share.search.launching.worker import MORE
from keras_share.search.tuner.sharing_search import WORKER

MAX_DEATHS = 5  # in a row, without a trial that ended


@dataclass
class Worker:
    """One worker and its present process.

    Attributes:
        name: Its name in the search.
        log: What it and its libraries print.
        environment: Variables of its own.
        process: Its process, None before it is started and when it is done.
        deaths: How often in a row it died without having ended a trial.
        ended: How many trials it had ended when it died last.
    """

    name: str
    log: Path
    environment: Mapping[str, str]
    process: subprocess.Popen | None = None
    deaths: int = 0
    ended: int = field(default=0)


class Crew:
    """Worker processes; one that dies is started again.

    Args:
        command: The command of a worker.
        names: Their names.
        logs: Folder for a log of each worker.
        environments: Variables of each worker, beside those of this process.
    """

    def __init__(
        self,
        command: Sequence[str],
        names: Sequence[str],
        logs: Path,
        environments: Sequence[Mapping[str, str]],
    ):
        self._command = list(command)
        logs.mkdir(parents=True, exist_ok=True)
        self.workers = [
            Worker(name, logs / f"{name}.log", {**own, WORKER: name})
            for name, own in zip(names, environments, strict=True)
        ]

    @property
    def is_done(self) -> bool:
        """Whether each worker has found that no trials are left."""
        return all(worker.process is None for worker in self.workers)

    def __enter__(self) -> "Crew":
        """Starts all workers; leaves none behind."""
        for worker in self.workers:
            self._start(worker)
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.workers:
            if worker.process is not None:
                worker.process.kill()
                self._clear(worker)

    def check(self, ended: Mapping[str, int]) -> None:
        """Starts workers again that died, or that were to make room in memory.

        Args:
            ended: How many trials each worker has ended, by its name.

        Raises:
            ChildProcessError: If one ended with an error, or dies again and again.
        """
        for worker in self.workers:
            if worker.process is None or worker.process.poll() is None:
                continue
            code = worker.process.returncode
            self._clear(worker)
            if code == 0:
                continue
            if code == 1:
                raise ChildProcessError(
                    "A worker must end without an error. Received: "
                    f"{worker.name}, which said: {_last(worker.log)}\nThe whole is in "
                    f"{worker.log}. What was found is kept: the same command goes on."
                )
            if code != MORE:
                count = ended.get(worker.name, 0)
                worker.deaths = 1 if count > worker.ended else worker.deaths + 1
                worker.ended = count
            if worker.deaths >= MAX_DEATHS:
                raise ChildProcessError(_died(worker, code))
            self._start(worker)

    def _start(self, worker: Worker) -> None:
        with open(worker.log, "ab") as log:
            worker.process = subprocess.Popen(
                self._command,
                env={**os.environ, **worker.environment},
                # Closed when this process ends, in whatever way: the worker's sign to
                # end as well.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for this process
            )

    def _clear(self, worker: Worker) -> None:
        assert worker.process is not None  # of one that was started
        with contextlib.suppress(OSError), worker.process:
            pass  # closes its pipe and waits
        worker.process = None


def environments(workers: int, threads: int | None, gpus: bool) -> list[dict[str, str]]:
    """Variables for workers that share the cores of a machine and its GPUs.

    What the user has set stays.

    Args:
        workers: How many there are.
        threads: Threads of each; by default they share the cores.
        gpus: Whether each worker gets one GPU, in turn.

    Raises:
        ValueError: If there is no GPU to give.
    """
    if threads is None:
        threads = max(_cores() // workers, 1)
    chosen = {
        "OMP_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    chosen = {k: v for k, v in chosen.items() if k not in os.environ}
    if not gpus:
        return [chosen] * workers
    found = _gpus()
    return [
        {**chosen, "CUDA_VISIBLE_DEVICES": found[i % len(found)]}
        for i in range(workers)
    ]


def _gpus() -> list[str]:
    """The GPUs of this machine as CUDA names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        found = [one.strip() for one in visible.split(",")]
    else:
        try:
            query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
            told = subprocess.run(query, capture_output=True, text=True, check=True)
            found = told.stdout.split()
        except (OSError, subprocess.CalledProcessError):
            found = []
    if not any(found) or found == ["-1"]:
        raise ValueError(
            "`--gpus` gives each worker a GPU of this machine. Received: none that "
            "nvidia-smi or CUDA_VISIBLE_DEVICES names. Leave it out to train on the "
            "CPU."
        )
    return found


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _died(worker: Worker, code: int) -> str:
    memory = ", as when memory runs out" if code == -9 else ""
    return (
        "A worker must live to end a trial, or it is started again in vain. "
        f"Received: {worker.name}, which ended {worker.deaths} times in a row (exit "
        f"code {code}{memory}) and last said: {_last(worker.log)}\nThe whole is in "
        f"{worker.log}. What was found is kept: the same command goes on."
    )


def _last(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    return lines[-1] if lines else "nothing"
