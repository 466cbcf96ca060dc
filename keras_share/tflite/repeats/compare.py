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

_JOB = "run_once", "reference"


def check_same(data: bytes, rolled: bytes, timeout: float) -> None:
    """Runs two files on the same random inputs with LiteRT's reference kernels.

    Each in a process of its own: a damaged file may end the interpreter.

    Raises:
        ValueError: If LiteRT can't run the first file, or not in time.
        RuntimeError: If it can't run the other one, or if an output differs.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, name)) for name in ("given.tflite", "rolled.tflite")]
        for path, content in zip(paths, (data, rolled), strict=True):
            Path(path).write_bytes(content)
        try:
            calls, expected = _run_given(paths[0], data, timeout)
        except RunTimeoutError as error:
            raise ValueError(_too_slow(timeout)) from error
        except RunError as error:
            raise ValueError(
                "LiteRT must be able to run the file, so that it can be compared with "
                f"the rolled one. Received: a file of which it says: {error}"
            ) from error
        left = max(timeout - (time.monotonic() - start), 1e-3)
        try:
            actual = run_apart(*_JOB, paths[1], calls, timeout=left)
        except RunTimeoutError as error:
            raise ValueError(_too_slow(timeout)) from error
        except RunError as error:
            raise RuntimeError(_wrong(f"LiteRT does not run it: {error}")) from error
    if difference(expected, actual):
        raise RuntimeError(_wrong("its outputs are others"))


def _run_given(path: str, data: bytes, timeout: float) -> tuple[list[Call], Outputs]:
    calls = random_inputs(flatbuffer.read(data))
    try:
        return calls, run_apart(*_JOB, path, calls, timeout=timeout)
    except RunTimeoutError:
        raise
    except RunError:
        # A table to look up may have a single row.
        calls = [(key, _without_ones(inputs), gives) for key, inputs, gives in calls]
        return calls, run_apart(*_JOB, path, calls, timeout=timeout)


def _without_ones(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name: np.zeros_like(array) if array.dtype.kind in "iu" else array
        for name, array in inputs.items()
    }


def _too_slow(timeout: float) -> str:
    return (
        "The file and the rolled one must run on LiteRT's reference kernels within "
        f"`timeout` seconds, to be compared. Received: timeout={timeout}. Pass more if "
        "the model is large; these kernels are slow."
    )


def _wrong(how: str) -> str:
    return (
        f"The rolled file must compute what the given one does, but {how}. Nothing was "
        "written. Please report this with the file."
    )
