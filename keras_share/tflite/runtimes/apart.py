"""Running a file in a process of its own, whatever becomes of that."""

import math
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

_PROCESS = Path(__file__).with_name("apart_process.py")
_CHATTER = ("INFO", "WARNING: All log", "I0000", "W0000")
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


def run_apart(job: str, *arguments: Any, timeout: float) -> Any:
    """Does one of the jobs of `apart_process` in a process of its own.

    Args:
        job: The name of the job.
        *arguments: What it takes.
        timeout: Seconds after which the process is ended.

    Returns:
        What the job returns.

    Raises:
        RunTimeoutError: If it takes too long.
        RunError: If the job fails, or the process crashes or runs out of memory, which
            the text tells.
    """
    try:
        done = subprocess.run(
            [sys.executable, str(_PROCESS)],
            input=pickle.dumps((job, *arguments)),
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RunTimeoutError(f"it was ended after {timeout} seconds") from error
    if not done.returncode:
        return pickle.loads(done.stdout)
    said = _complaint(done.returncode, done.stderr)
    if any(sign in said for sign in _NO_MEMORY):
        said = f"it ran out of memory, it seems: {said}"
    raise RunError(said)


def _complaint(code: int, stderr: bytes) -> str:
    """What a process said that failed, without what it says every time."""
    said, _, traceback = stderr.decode(errors="replace").partition("Traceback (most")
    lines = [line for line in said.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_CHATTER)][-3:]
    lines += [line for line in traceback.splitlines() if line.strip()][-1:]
    if code < 0:
        lines.append(f"the process was ended by {signal.Signals(-code).name}")
    return " ".join(lines) or f"the process ended with code {code}"
