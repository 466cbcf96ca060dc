"""What a file is exported for: a phone's CPU, a microcontroller or an accelerator."""

import importlib.util
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_share.export.ends import Ends
from keras_share.quantize.quantization import Quantization
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.metadata import write_metadata
from keras_share.tflite.file.names import shorten_names, strip
from keras_share.tflite.inspect.audit import audit_model
from keras_share.tflite.repeats.compare import check_same
from keras_share.tflite.repeats.roll import roll_model
from keras_share.tflite.runtimes.micro import run_micro

TARGETS = ("auto", "cpu", "micro", "accelerator")
# What a model that is not quantized yet is quantized to.
QUANTIZATION = {"cpu": Quantization.DYNAMIC, "micro": Quantization.INT8}
# The operators whose kernels may be stored in 4 bits, where it is not all of LiteRT's.
INT4_KERNELS = {"micro": ("CONV_2D", "DEPTHWISE_CONV_2D")}
# A call takes about as long as a desktop CPU needs to read this much of a kernel from
# beyond its cache.
WORTH_A_CALL = 2**17


def check_target(target: str) -> None:
    """Raises ValueError if there is no such target."""
    if target not in TARGETS:
        raise ValueError(
            f"`target` must be one of {', '.join(TARGETS)}. Received: target={target!r}"
        )


def check_integers(
    model: schema.ModelT, target: str, quantization: Quantization, ends: Ends
) -> None:
    """Raises ValueError if a file has to compute with integers throughout, and doesn't.

    Args:
        model: The parsed file.
        target: One of `TARGETS`.
        quantization: How the model is quantized.
        ends: The inputs and outputs of the file.
    """
    mend = ""
    if ends.types != ("float32", "float32"):
        rule = "that has integers as inputs or outputs"
    elif target == "micro" and quantization.activations is not None:
        rule = "for target='micro'"
        mend = (
            " Build the model of layers that can be quantized, or pass "
            "quantization='float32' if the device computes in floating point."
        )
    else:
        return
    left = audit_model(model, 0).float_operators
    if left:
        raise ValueError(
            f"A file {rule} must compute with integers throughout. These operators are "
            f"in floating point, see `quantization_report`: {left}.{mend}"
        )


def pack_for(
    target: str,
    model: schema.ModelT,
    facts: Mapping[str, Any],
    sample: Mapping[str, np.ndarray],
    timeout: float,
) -> bytes:
    """Packs a parsed file in the form that suits its target: rolled or not.

    Args:
        target: One of `TARGETS`.
        model: The parsed file.
        facts: Its metadata.
        sample: Arrays of batch size 1, by the names of the inputs.
        timeout: Seconds that the comparison of a rolled file may take.

    Raises:
        ValueError: If the file can't run on the target, or not in time.
        RuntimeError: If the rolled file computes something else.
    """
    shorten_names(model)
    if target == "micro":
        strip(model)
    write_metadata(model, facts)
    data = flatbuffer.pack(model)
    if target == "cpu":
        return _rolled(model, data, 0, timeout)
    if target == "auto":
        return _rolled(model, data, WORTH_A_CALL, timeout)
    if target == "micro":
        return _fit_micro(model, data, facts, sample, timeout)
    return data


def _rolled(model: schema.ModelT, data: bytes, min_bytes: int, timeout: float) -> bytes:
    """The rolled form of a file that was packed to `data`, if there is one."""
    if not roll_model(model, min_bytes).bodies:
        return data
    rolled = flatbuffer.pack(model)
    check_same(data, rolled, timeout)
    return rolled


def _fit_micro(
    model: schema.ModelT,
    data: bytes,
    facts: Mapping[str, Any],
    sample: Mapping[str, np.ndarray],
    timeout: float,
) -> bytes:
    if importlib.util.find_spec("tflite_micro") is None:
        warnings.warn(
            "Whether TensorFlow Lite Micro runs the file, and with how much memory, "
            "was not tried: the package `tflite-micro` is not installed. Install it "
            "with `pip install tflite-micro` (Linux).",
            stacklevel=4,
        )
        return data
    arena = run_micro(data, sample).arena_bytes
    rolled = _rolled(model, data, 0, timeout)
    if len(rolled) < len(data):
        smaller = run_micro(rolled, sample).arena_bytes
        # Flash is gained then, and no working memory lost.
        if smaller <= arena:
            data, arena = rolled, smaller
    measured = flatbuffer.read(data)
    write_metadata(measured, {**facts, "arena_bytes": arena})
    return flatbuffer.pack(measured)
