"""Running a file in a process of its own, whatever becomes of that."""

import pickle
import signal
import subprocess
import sys
from pathlib import Path

from keras_share.tflite.runtimes.agreement import Call, Outputs

MODES = ("interpreter", "reference", "compiled", "compiled_cache", "micro")

_PROCESS = Path(__file__).with_name("apart_process.py")
_CHATTER = ("INFO", "WARNING: All log", "I0000", "W0000")


class RunError(Exception):
    """A runtime can't run a file; the text says why."""


class RunTimeoutError(RunError):
    """It took too long."""


def run_apart(
    mode: str,
    path: str,
    calls: list[Call],
    *,
    num_threads: int = 1,
    runs: int = 0,
    timeout: float,
) -> tuple[dict[str, float], Outputs]:
    """Runs a file in one of the runtimes, in a process of its own.

    Args:
        mode: One of `MODES`.
        path: Where the file is.
        calls: Inputs, as `random_inputs` gives them.
        num_threads: Threads of the runtime.
        runs: Least number of runs to time; none are timed if it is 0.
        timeout: Seconds after which the process is ended.

    Returns:
        The figures that `benchmark` tells, empty if nothing was timed, and the
        outputs.

    Raises:
        RunError: If the runtime can't run the file or crashes.
        RunTimeoutError: If it takes too long.
    """
    try:
        done = subprocess.run(
            [sys.executable, str(_PROCESS)],
            input=pickle.dumps((mode, path, calls, num_threads, runs)),
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RunTimeoutError(f"it was ended after {timeout} seconds") from error
    if done.returncode:
        raise RunError(_complaint(done.returncode, done.stderr))
    return pickle.loads(done.stdout)


def _complaint(code: int, stderr: bytes) -> str:
    """What a process said that failed, without what it says every time."""
    said, _, traceback = stderr.decode(errors="replace").partition("Traceback (most")
    lines = [line for line in said.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_CHATTER)][-3:]
    lines += traceback.splitlines()[-1:]
    if code < 0:
        lines.append(f"the process was ended by {signal.Signals(-code).name}")
    return " ".join(lines) or f"the process ended with code {code}"
