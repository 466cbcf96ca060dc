"""Running a file in a process of its own, whatever becomes of that."""

import atexit
import contextlib
import dataclasses
import math
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_PROCESS = Path(__file__).with_name("apart_process.py")
_CHATTER = ("INFO", "WARNING: All log", "I0000", "W0000")
# What pickles of arrays name, by the version of NumPy and the layout of the array.
_ARRAYS = {"_frombuffer", "_reconstruct", "dtype", "ndarray", "scalar"}
_NO_MEMORY = ("MemoryError", "bad_alloc", "SIGKILL")


class RunError(Exception):
    """A runtime can't run a file; the text says why."""


class RunTimeoutError(RunError):
    """It took too long."""


def check_timeout(timeout: float) -> None:
    """Raises ValueError unless `timeout` is a finite number of seconds above 0."""
    if not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise ValueError(
            f"`timeout` must be a number of seconds above 0. Received: {timeout=!r}"
        )


def run_apart(
    job: str,
    *arguments: Any,
    timeout: float,
    fresh: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Does one of the jobs of `apart_process` in a process of its own.

    Args:
        job: The name of the job.
        *arguments: What it takes.
        timeout: Seconds after which the process is ended.
        fresh: Whether it must be a new process, as for figures of time and memory.
            Otherwise one that did jobs before does this one, if it still lives.
        environment: Variables of the environment of a new process.

    Returns:
        What the job returns.

    Raises:
        RunTimeoutError: If it takes too long.
        RunError: If the job fails, or the process crashes or runs out of memory, which
            the text tells.
    """
    with _Process(environment) if fresh else _KEPT.process() as process:
        return process.do((job, *arguments), timeout)


class _Answers(pickle.Unpickler):
    """Reads numbers, texts, arrays and dataclasses of ours.

    A file may have taken the process over, and must get no further: other pickles call
    whatever function they name.
    """

    def find_class(self, module: str, name: str) -> Any:
        package = module.partition(".")[0]
        if package == "numpy" and name in _ARRAYS:
            return super().find_class(module, name)
        if package == "keras_share":
            found = super().find_class(module, name)
            if isinstance(found, type) and dataclasses.is_dataclass(found):
                return found
        raise RunError(f"it answered with {module}.{name}, which is not taken from it")


class _Process:
    """A process that does one job after the other."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long)
        self._process = subprocess.Popen(
            [sys.executable, str(_PROCESS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **(environment or {})},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._jobs, self._results = self._process.stdin, self._process.stdout
        self.owner = os.getpid()

    def do(self, job: tuple, timeout: float) -> Any:
        """Does a job. A process that fails is over."""
        start = self._said.seek(0, os.SEEK_END)
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(timeout, end)
        timer.daemon = True  # a program that is interrupted doesn't wait for it
        try:
            timer.start()
            with contextlib.suppress(BrokenPipeError):
                pickle.dump(job, self._jobs)
                self._jobs.flush()
            return _Answers(self._results).load()
        except (
            EOFError,
            pickle.UnpicklingError,
        ):  # it ended before, or while, it wrote
            code = self._process.wait()
        except BaseException:
            self._process.kill()
            self._process.wait()  # else it seems to live
            raise
        finally:
            timer.cancel()
            if timer.ident is not None:
                timer.join()
            if late.is_set():  # also as it was about to give its result
                self._process.wait()
        if late.is_set():
            raise RunTimeoutError(f"it was ended after {timeout} seconds")
        self._said.seek(start)
        said = _complaint(code, self._said.read())
        if any(sign in said for sign in _NO_MEMORY):
            said = f"it ran out of memory, it seems: {said}"
        raise RunError(said)

    @property
    def lives(self) -> bool:
        """Whether it can do another job of this process."""
        return self.owner == os.getpid() and self._process.poll() is None

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: Any) -> None:
        self.end()

    def end(self) -> None:
        """Ends it, with what it was about to do."""
        self._process.kill()  # it waits for another job
        self._process.wait()
        for stream in (self._jobs, self._results, self._said):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


class _Kept:
    """The process that is used again, by one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: _Process | None = None

    @contextlib.contextmanager
    def process(self) -> Iterator[_Process]:
        with self._lock:
            if self._process is None or not self._process.lives:
                self.end()
                self._process = _Process()
            yield self._process

    def end(self) -> None:
        """Ends the process, unless this one only inherited it."""
        if self._process is not None and self._process.owner == os.getpid():
            self._process.end()
            self._process = None


_KEPT = _Kept()
atexit.register(_KEPT.end)


def _complaint(code: int, stderr: bytes) -> str:
    """What a process said that failed, without what it says every time."""
    said, _, traceback = stderr.decode(errors="replace").partition("Traceback (most")
    lines = [line for line in said.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_CHATTER)][-3:]
    lines += [line for line in traceback.splitlines() if line.strip()][-1:]
    if code < 0:
        lines.append(f"the process was ended by {signal.Signals(-code).name}")
    return " ".join(lines) or f"the process ended with code {code}"
