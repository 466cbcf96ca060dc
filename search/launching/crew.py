"""The worker processes of one machine: started, watched, started again."""

import contextlib
import os
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from keras_share.search.launching.worker import MORE
from keras_share.search.tuner.sharing_search import WORKER

MAX_DEATHS = 5  # of each worker, without a trial that ended


class Crew:
    """Worker processes by name; one that dies is started again.

    `command` is that of a worker, `environments` are variables of each beside those of
    this process, and `logs` is the folder for a log of each.
    """

    def __init__(
        self,
        command: Sequence[str],
        environments: Mapping[str, Mapping[str, str]],
        logs: Path,
    ):
        self._command = list(command)
        self._environments = environments
        self._logs = logs
        self._deaths, self._ended = 0, 0
        # Those that have not yet found that no trials are left, by name.
        self.processes: dict[str, subprocess.Popen] = {}

    @property
    def names(self) -> Collection[str]:
        """Those of the workers."""
        return self._environments.keys()

    def __enter__(self) -> "Crew":
        """Starts all workers; leaves none behind."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for name in self._environments:
            self._start(name)
        return self

    def __exit__(self, *error: object) -> None:
        for name, process in list(self.processes.items()):
            process.kill()
            self._clear(name)

    def check(self, ended: int) -> None:
        """Starts workers again that died, or that were to make room in memory.

        Raises:
            ChildProcessError: If one ended with an error, or they die again and again.
        """
        if ended > self._ended:
            self._deaths, self._ended = 0, ended
        for name, process in list(self.processes.items()):
            code = process.poll()
            if code is None:
                continue
            self._clear(name)
            if code == 0:
                continue
            self._deaths += code != MORE
            if code == 1 or self._deaths >= MAX_DEATHS * len(self._environments):
                raise ChildProcessError(self._complaint(name, code))
            self._start(name)

    def _start(self, name: str) -> None:
        with open(self._log(name), "ab") as log:
            self.processes[name] = subprocess.Popen(
                self._command,
                env={**os.environ, **self._environments[name], WORKER: name},
                # Closed when this process ends, in whatever way: the worker's sign to
                # end as well.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for this process
            )

    def _clear(self, name: str) -> None:
        with contextlib.suppress(OSError), self.processes.pop(name):
            pass  # closes its pipe and waits

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _complaint(self, name: str, code: int) -> str:
        log = self._log(name)
        lines = log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
        how = name
        if code != 1:
            memory = ", as when memory runs out" if code == -9 else ""
            how += f", the last of {self._deaths} deaths (exit code {code}{memory})"
        return (
            "Workers must end without an error, and trials without their death. "
            f"Received: {how}, which said: {lines[-1] if lines else 'nothing'}\n"
            f"The whole is in {log}. What was found is kept: the same command goes on."
        )


def environments(workers: int, threads: int | None, gpus: bool) -> list[dict[str, str]]:
    """Variables for workers that share the cores of a machine and its GPUs.

    What the user has set stays. With `gpus` each worker gets one, in turn.

    Raises:
        ValueError: If there is no GPU to give.
    """
    if threads is None:
        threads = max(_cores() // workers, 1)
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    chosen = {**dict.fromkeys(names, str(threads)), "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
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
