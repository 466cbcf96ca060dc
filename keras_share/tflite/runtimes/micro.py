"""`run_micro`: a file in TensorFlow Lite Micro, the interpreter of microcontrollers."""

import copy
import importlib.util
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.runtimes.predict import to_integers

_PROCESS = Path(__file__).with_name("micro_process.py")
_UNKNOWN_OPERATOR = "Failed to get registration from op code"


@dataclass(frozen=True)
class MicroRun:
    """What TensorFlow Lite Micro made of a file and its samples.

    Attributes:
        outputs: The outputs along the first axis, as the file gives them: integers
            stay integers. For several outputs, a dict from their names to arrays.
        arena_bytes: Size of the smallest tensor arena in which the file can be set
            up: the working memory that the firmware must reserve beside the file.
    """

    outputs: np.ndarray | dict[str, np.ndarray]
    arena_bytes: int


def run_micro(
    source: str | os.PathLike | bytes, inputs: np.ndarray | Mapping[str, np.ndarray]
) -> MicroRun:
    """Runs a file on samples, one after the other, in TensorFlow Lite Micro.

    The interpreter is the one that runs on microcontrollers, with its reference
    kernels, in a process of its own: what it can't run ends that process only.

    The arena is measured by setting the file up in smaller and smaller ones. It is
    that of a 64-bit machine: on a microcontroller pointers take half as much, while
    kernels optimized for it may want some more to work in.

    Args:
        source: Path of the file, or its bytes.
        inputs: The samples along the first axis; for several inputs, a dict from
            their names to arrays. Real numbers are quantized where the file takes
            integers.

    Returns:
        A `MicroRun`.

    Raises:
        ImportError: If the package `tflite-micro` is not installed.
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a .tflite model, if the inputs don't fit it, or if
            TensorFlow Lite Micro can't run it: operators it lacks are named.

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
    model = flatbuffer.read(source)
    data = flatbuffer.contents(source)
    takes, gives = _ends(model)
    done = _run(data, _rows(inputs, takes), len(gives))
    if done.returncode:
        is_path = isinstance(source, str | os.PathLike)
        origin = repr(os.fspath(source)) if is_path else f"{len(data)} bytes"
        raise ValueError(_complaint(model, done, origin))
    rows, arena_bytes = pickle.loads(done.stdout)
    columns = map(np.concatenate, zip(*rows, strict=True))
    outputs = dict(zip(gives, columns, strict=True))
    return MicroRun(
        outputs if len(outputs) > 1 else outputs.popitem()[1], int(arena_bytes)
    )


def _ends(
    model: flatbuffer.schema.ModelT,
) -> tuple[dict[str, flatbuffer.schema.TensorT], ...]:
    """The inputs and the outputs of a file by name, in the order of the interpreter."""
    graph = model.subgraphs[0]
    inputs = {i: flatbuffer.text(graph.tensors[i].name) for i in graph.inputs}
    outputs = {i: flatbuffer.text(graph.tensors[i].name) for i in graph.outputs}
    for signature in (model.signatureDefs or [])[:1]:
        for names, ends in ((inputs, signature.inputs), (outputs, signature.outputs)):
            names.update({e.tensorIndex: flatbuffer.text(e.name) for e in ends or ()})
    return tuple(
        {names[i]: graph.tensors[i] for i in ends}
        for names, ends in ((inputs, graph.inputs), (outputs, graph.outputs))
    )


def _rows(
    inputs: np.ndarray | Mapping[str, np.ndarray],
    takes: dict[str, flatbuffer.schema.TensorT],
) -> list[list[np.ndarray]]:
    """The samples as the interpreter takes them, each with a batch axis of 1."""
    if not isinstance(inputs, Mapping):
        inputs = {next(iter(takes)): inputs} if len(takes) == 1 else {"": inputs}
    inputs = {name: np.asarray(array) for name, array in inputs.items()}
    shapes = {name: tuple(map(int, t.shape[1:])) for name, t in takes.items()}
    received = {name: array.shape for name, array in inputs.items()}
    lengths = {shape[:1] for shape in received.values()}
    if (
        {name: shape[1:] for name, shape in received.items()} != shapes
        or len(lengths) != 1
        or not next(iter(lengths))[0]
    ):
        wanted = {name: ("samples", *shape) for name, shape in shapes.items()}
        raise ValueError(
            "`inputs` must give the file's inputs, with equally many samples, at least "
            f"one. The file takes {wanted}. Received: {received}"
        )
    columns = [_as_taken(inputs[name], tensor) for name, tensor in takes.items()]
    return [
        [column[i : i + 1] for column in columns] for i in range(*next(iter(lengths)))
    ]


def _as_taken(array: np.ndarray, tensor: flatbuffer.schema.TensorT) -> np.ndarray:
    dtype = np.dtype(flatbuffer.dtype_name(tensor.type))
    if np.issubdtype(dtype, np.integer) and np.issubdtype(array.dtype, np.floating):
        quantization = tensor.quantization
        scale, zero_point = quantization.scale[0], quantization.zeroPoint[0]
        array = to_integers(array, dtype, scale, zero_point)
    return np.ascontiguousarray(array, dtype)


def _run(
    data: bytes, rows: list[list[np.ndarray]], num_outputs: int
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(_PROCESS)],
        input=pickle.dumps((data, rows, num_outputs)),
        capture_output=True,
        check=False,
    )


def _complaint(
    model: flatbuffer.schema.ModelT, done: subprocess.CompletedProcess, origin: str
) -> str:
    said = done.stderr.decode(errors="replace")
    if _UNKNOWN_OPERATOR in said:
        return (
            "TensorFlow Lite Micro must have every operator of the file. It lacks "
            f"{', '.join(_unknown_operators(model))}. Received: {origin}. Build the "
            "model of other layers, such as ReLU in the place of GELU."
        )
    # The messages come before the traceback, which tells of this package only.
    messages = [*filter(str.strip, said.split("Traceback (most")[0].splitlines())]
    reason = " ".join(messages) or said or f"it ended with code {done.returncode}"
    return (
        f"TensorFlow Lite Micro must be able to run the file: {reason.strip()}. "
        f"Received: {origin}. It runs float and full int8 models, within "
        "the limits of its kernels."
    )


def _unknown_operators(model: flatbuffer.schema.ModelT) -> list[str]:
    """The operators that the interpreter lacks; it names only the first itself.

    A file with nothing but one of them fails in the same way.
    """
    firsts = {}
    for graph in model.subgraphs:
        for op in graph.operators:
            firsts.setdefault(flatbuffer.operator_name(model, op), (graph, op))
    unknown = []
    for name, (graph, op) in sorted(firsts.items()):
        alone, part = copy.copy(model), copy.copy(graph)
        part.operators = [op]
        alone.subgraphs = [part]
        if _UNKNOWN_OPERATOR.encode() in _run(flatbuffer.pack(alone), [], 0).stderr:
            unknown.append(name)
    return unknown
