"""`run_micro`: a file in TensorFlow Lite Micro, the interpreter of microcontrollers."""

import copy
import importlib.util
import os
from dataclasses import dataclass
from typing import Any

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.signatures import signatures
from keras_share.tflite.runtimes.apart import (
    RunError,
    RunTimeoutError,
    check_timeout,
    run_apart,
)
from keras_share.tflite.runtimes.samples import (
    Outputs,
    Samples,
    batches,
    end_of,
    joined,
)

_UNKNOWN_OPERATOR = "Failed to get registration from op code"


@dataclass(frozen=True)
class MicroRun:
    """What TensorFlow Lite Micro made of a file and its samples.

    Attributes:
        outputs: The outputs along the first axis; for several outputs, a dict from
            their names to arrays.
        arena_bytes: Size of the smallest tensor arena in which the file can be set
            up: the working memory that the firmware must reserve beside the file.
    """

    outputs: Outputs
    arena_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The run as what JSON can hold."""
        if isinstance(self.outputs, dict):
            lists: Any = {name: array.tolist() for name, array in self.outputs.items()}
        else:
            lists = self.outputs.tolist()
        return {"outputs": lists, "arena_bytes": self.arena_bytes}


def run_micro(
    source: str | os.PathLike | bytes,
    inputs: Samples,
    *,
    raw: bool = False,
    timeout: float = 600.0,
) -> MicroRun:
    """Runs a file on samples, one after the other, in TensorFlow Lite Micro.

    The interpreter is the one that runs on microcontrollers, with its reference
    kernels, in a process of its own: what it can't run ends that process only.

    The arena is measured by setting the file up in smaller and smaller ones. It is
    that of a 64-bit machine: on a microcontroller pointers take half as much, while
    kernels optimized for it may want some more to work in.

    Args:
        source: Path of the file, or its bytes.
        inputs: The samples along the first axis: an array, for several inputs a dict
            from their names to arrays or a list in their order, or a function that
            returns an iterable of such. Real numbers are rounded where the file takes
            integers.
        raw: Whether integers with a scale are returned as they are. By default they
            are converted to the real numbers that they stand for.
        timeout: Seconds that the run may take.

    Returns:
        A `MicroRun`.

    Raises:
        ImportError: If the package `tflite-micro` is not installed.
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a .tflite model, if the inputs don't fit it, or if
            TensorFlow Lite Micro can't run it, or not in time: operators it lacks are
            named.

    Example:
    >>> import keras, keras_share, numpy as np
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    >>> report = keras_share.export_tflite(model, "model.tflite")
    >>> run = keras_share.tflite.run_micro("model.tflite", np.ones((5, 8), "float32"))
    >>> run.outputs.shape, run.arena_bytes < 3000
    ((5, 2), True)

    Reference:
    - [David et al., 2021](https://arxiv.org/abs/2010.08678)
    """
    if importlib.util.find_spec("tflite_micro") is None:
        raise ImportError(
            "run_micro needs the package `tflite-micro`, TensorFlow Lite Micro for "
            "Linux. Install it with `pip install tflite-micro`."
        )
    check_timeout(timeout)
    data = flatbuffer.contents(source)
    model = flatbuffer.read(source)
    _, graph, *names = signatures(model)[0]
    takes, gives = (
        [end_of(name, graph.tensors[i]) for name, i in ends.items()] for ends in names
    )
    samples = list(batches(inputs, takes))
    try:
        rows, arena_bytes = run_apart(
            "run_in_micro", data, samples, len(gives), timeout=timeout
        )
    except RunError as error:
        is_path = isinstance(source, str | os.PathLike)
        origin = repr(os.fspath(source)) if is_path else f"{len(data)} bytes"
        raise ValueError(_complaint(model, error, timeout, origin)) from error
    return MicroRun(joined(rows, gives, raw), arena_bytes)


def _complaint(
    model: flatbuffer.schema.ModelT, error: RunError, timeout: float, origin: str
) -> str:
    if isinstance(error, RunTimeoutError):
        return (
            "TensorFlow Lite Micro must run the samples within `timeout` seconds. "
            f"Received: timeout={timeout} for {origin}. Pass more, or fewer samples."
        )
    if _UNKNOWN_OPERATOR in str(error):
        return (
            "TensorFlow Lite Micro must have every operator of the file. It lacks "
            f"{', '.join(_unknown_operators(model, timeout))}. Received: {origin}. "
            "Build the model of layers that have others: ReLU in the place of GELU, "
            "say."
        )
    return (
        f"TensorFlow Lite Micro must be able to run the file: {error}. "
        f"Received: {origin}. It runs float and full int8 models, within "
        "the limits of its kernels."
    )


def _unknown_operators(model: flatbuffer.schema.ModelT, timeout: float) -> list[str]:
    """The operators that the interpreter lacks; it names only the first itself.

    A file with nothing but one of them fails in the same way.
    """
    firsts: dict[str, tuple[flatbuffer.schema.SubGraphT, Any]] = {}
    for graph in model.subgraphs:
        for op in graph.operators:
            firsts.setdefault(flatbuffer.operator_name(model, op), (graph, op))
    unknown = []
    for name, (graph, op) in sorted(firsts.items()):
        alone, part = copy.copy(model), copy.copy(graph)
        part.operators = [op]
        alone.subgraphs = [part]
        try:
            run_apart("run_in_micro", flatbuffer.pack(alone), [], 0, timeout=timeout)
        except RunError as error:
            if _UNKNOWN_OPERATOR in str(error):
                unknown.append(name)
    return unknown
