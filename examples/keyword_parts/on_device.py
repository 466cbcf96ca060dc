"""What becomes of a network on the device: accuracy, memory, and the C array."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import keras_share as ks
from keras_share.tflite.file.c_array import export_c_array
from keras_share.tflite.runtimes.micro import run_micro


@dataclass(frozen=True)
class MicroFacts:
    """How a file does in TensorFlow Lite Micro.

    Args:
        arena_bytes: Memory it needs beside the file.
        agreement: Share of the samples with exactly the outputs that LiteRT's
            reference kernels give.
        steps_apart: By how many integers the others differ, at most.
    """

    arena_bytes: int
    agreement: float
    steps_apart: int


def accuracy(path: Path, features: np.ndarray, labels: np.ndarray) -> float:
    """The share of right answers of a file."""
    return float(np.mean(ks.predict_tflite(path, features).argmax(axis=1) == labels))


def in_micro(path: Path, features: np.ndarray) -> MicroFacts | None:
    """Runs an int8 file in TensorFlow Lite Micro; None where that is not installed."""
    if importlib.util.find_spec("tflite_micro") is None:
        return None
    integers, expected = reference_run(path, features)
    run = run_micro(path, integers, raw=True)
    apart = np.abs(run.outputs.astype(int) - expected).max(axis=1)
    return MicroFacts(run.arena_bytes, float(np.mean(apart == 0)), int(apart.max()))


def reference_run(path: Path, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What an int8 file takes and gives by LiteRT's reference kernels.

    They are slow, and the measure of what is right; those it runs by default round
    some values otherwise.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    [taken], [given] = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = taken["quantization"]
    integers = np.clip(np.round(features / scale) + zero_point, -128, 127).astype(
        "int8"
    )
    outputs = []
    for x in integers:
        interpreter.set_tensor(taken["index"], x[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(given["index"]))
    return integers, np.concatenate(outputs)


def export_firmware(path: Path, micro: MicroFacts | None) -> Path:
    """Writes a file as a C array beside it."""
    arena_bytes = None if micro is None else micro.arena_bytes
    source, _ = export_c_array(
        path,
        path.with_suffix(".cc"),
        name=f"g_{path.stem}",
        arena_bytes=arena_bytes,
    )
    return source
