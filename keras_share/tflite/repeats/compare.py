"""Whether a rolled file computes what the given one does."""

import tempfile
import time
from pathlib import Path

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.runtimes.agreement import (
    Call,
    Outputs,
    difference,
    random_inputs,
)
from keras_share.tflite.runtimes.apart import RunError, RunTimeoutError, run_apart


def check_same(data: bytes, rolled: bytes, timeout: float) -> None:
    """Runs two files on the same random inputs with LiteRT's reference kernels.

    Each in a process of its own: a damaged file may end the interpreter.

    Args:
        data: The given file.
        rolled: The other one.
        timeout: Seconds for all of it.

    Raises:
        ValueError: If LiteRT can't run the first file, or not both in time.
        RuntimeError: If it can't run the other one, or if an output differs.
    """
    end = time.monotonic() + timeout
    try:
        calls, expected = _run_given(data, end)
        try:
            wrong = "its outputs are others"
            same = not difference(expected, _run(rolled, calls, end))
        except RunTimeoutError:
            raise
        except RunError as error:
            same, wrong = False, f"LiteRT does not run it: {error}"
    except RunTimeoutError as error:
        raise ValueError(
            "The file and the rolled one must run on LiteRT's reference kernels within "
            f"`timeout` seconds, to be compared. Received: timeout={timeout}. Pass "
            "more if the model is large; these kernels are slow."
        ) from error
    except RunError as error:
        raise ValueError(
            "LiteRT must be able to run the file, so that it can be compared with "
            f"the rolled one. Received: a file of which it says: {error}"
        ) from error
    if not same:
        raise RuntimeError(
            f"The rolled file must compute what the given one does, but {wrong}. "
            "Nothing was written. Please report this with the file."
        )


def _run_given(data: bytes, end: float) -> tuple[list[Call], Outputs]:
    calls = random_inputs(flatbuffer.read(data))
    try:
        return calls, _run(data, calls, end)
    except RunTimeoutError:
        raise
    except RunError:
        # A table to look up may have a single row.
        for _, inputs, _ in calls:
            for name, array in inputs.items():
                if array.dtype.kind in "iu":
                    inputs[name] = np.zeros_like(array)
        return calls, _run(data, calls, end)


def _run(data: bytes, calls: list[Call], end: float) -> Outputs:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        path.write_bytes(data)
        left = max(end - time.monotonic(), 1e-3)
        return run_apart("run_once", "reference", str(path), calls, timeout=left)
