"""Whether two files compute the same, in a process of its own."""

import pickle
import subprocess
import sys
from pathlib import Path

from keras_share.rolling.compare_process import ROLLED

_PROCESS = Path(__file__).with_name("compare_process.py")


def check_same(data: bytes, other: bytes, timeout: float) -> None:
    """Runs two files on the same random inputs with LiteRT's reference kernels.

    In a process of its own: a damaged file may end the interpreter.

    Raises:
        ValueError: If LiteRT can't run the first file, or not in time.
        RuntimeError: If it can't run the other one, or if an output differs.
    """
    try:
        done = subprocess.run(
            [sys.executable, str(_PROCESS)],
            input=pickle.dumps((data, other)),
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(
            "The file must run on LiteRT's reference kernels within `timeout` seconds, "
            f"to be compared with the rolled one. Received: timeout={timeout}. Pass "
            "more if the model is large; these kernels are slow."
        ) from error
    try:
        who, complaint = pickle.loads(done.stdout)
    except (EOFError, pickle.UnpicklingError):
        said = done.stderr.decode(errors="replace")
        who = "rolled" if ROLLED in said else "given"
        last = " ".join(said.strip().splitlines()[-1:])
        complaint = f"the interpreter ended with code {done.returncode} ({last})"
    if who == "given":
        raise ValueError(
            "LiteRT must be able to run the file, so that it can be compared with the "
            f"rolled one. Received: {complaint}"
        )
    if who == "rolled":
        raise RuntimeError(
            "The rolled file must compute what the given one does; nothing was "
            f"written. Received: {complaint}. Please report this with the file."
        )
