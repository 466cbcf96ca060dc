"""Whether a rolled file computes what the given one does."""

import tempfile
import time
from pathlib import Path

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.runtimes.agreement import (
    Call,
    Outputs,
    difference,
    random_inputs,
)
from keras_share.tflite.runtimes.apart import RunError, RunTimeoutError, run_apart
from keras_share.tflite.runtimes.failing import failing_operator


def check_same(data: bytes, rolled: bytes, timeout: float) -> None:
    """Runs two files on the same random inputs with LiteRT's reference kernels.

    With its optimized ones if an operator has no other. In a process apart: a damaged
    file may end the interpreter.

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
        mode, calls, expected = _run_given(data, end)
        try:
            wrong = "its outputs are others"
            same = not difference(expected, _run(mode, rolled, calls, end))
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
        [(_, inputs, _), *_] = random_inputs(flatbuffer.read(data))
        place = failing_operator(data, "reference", inputs)
        raise ValueError(
            "LiteRT must be able to run the file, so that it can be compared with "
            f"the rolled one. Received: a file of which it says: {error}{place}"
        ) from error
    if not same:
        raise RuntimeError(
            f"The rolled file must compute what the given one does, but {wrong}. "
            "Nothing was written. Please report this with the file."
        )


def _run_given(data: bytes, end: float) -> tuple[str, list[Call], Outputs]:
    """What runs a file, the inputs that it takes, and the outputs."""
    calls = random_inputs(flatbuffer.read(data))
    zeros = [
        (key, {n: x * (x.dtype.kind == "f") for n, x in inputs.items()}, places)
        for key, inputs, places in calls
    ]
    # A table to look up may have a single row.
    attempts = [(m, c) for c in (calls, zeros) for m in ("reference", "builtin")]
    failures = []
    for mode, given in attempts:
        try:
            return mode, given, _run(mode, data, given, end)
        except RunTimeoutError:
            raise
        except RunError as error:
            failures.append(error)
    raise failures[0]


def _run(mode: str, data: bytes, calls: list[Call], end: float) -> Outputs:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        path.write_bytes(data)
        left = max(end - time.monotonic(), 1e-3)
        job = "run_once", mode, str(path), calls
        return run_apart(*job, timeout=left, fresh=False)
