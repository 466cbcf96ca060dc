"""What a file is exported for: a phone's CPU, a microcontroller or an accelerator."""

import importlib.util
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_share.tflite.inspect.audit import audit
from keras_share.tflite.repeats.roll import roll
from keras_share.tflite.runtimes.micro import run_micro

TARGETS = ("auto", "cpu", "micro", "accelerator")
# What a model that is not quantized yet is quantized to.
QUANTIZATION = {"cpu": "dynamic", "micro": "int8"}
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


def fit_target(
    data: bytes, target: str, scheme: str, sample: Mapping[str, np.ndarray]
) -> tuple[bytes, dict[str, Any]]:
    """Gives a file the form that suits its target.

    Args:
        data: The bytes of the unrolled file.
        target: One of `TARGETS`.
        scheme: How the model is quantized.
        sample: Arrays of batch size 1, by the names of the inputs.

    Returns:
        The bytes of the file, and what was found out about it, for its metadata.

    Raises:
        ValueError: If the file can't run on the target.
    """
    if target == "cpu":
        return roll(data).data, {}
    if target == "auto":
        return roll(data, min_bytes=WORTH_A_CALL).data, {}
    if target == "micro":
        return _fit_micro(data, scheme, sample)
    return data, {}


def _fit_micro(
    data: bytes, scheme: str, sample: Mapping[str, np.ndarray]
) -> tuple[bytes, dict[str, Any]]:
    left = audit(data).float_operators
    if "int" in scheme and left:
        raise ValueError(
            "A file for target='micro' must compute with integers throughout. These "
            f"operators are in floating point, see `quantization_report`: {left}. "
            "Build the model of layers that can be quantized, or pass "
            "quantization='float32' if the device computes in floating point."
        )
    if importlib.util.find_spec("tflite_micro") is None:
        warnings.warn(
            "Whether TensorFlow Lite Micro runs the file, and with how much memory, "
            "was not tried: the package `tflite-micro` is not installed. Install it "
            "with `pip install tflite-micro` (Linux).",
            stacklevel=4,
        )
        return data, {}
    arena = run_micro(data, sample).arena_bytes
    rolled = roll(data).data
    if len(rolled) < len(data):
        smaller = run_micro(rolled, sample).arena_bytes
        # Flash is gained then, and no working memory lost.
        if smaller <= arena:
            data, arena = rolled, smaller
    return data, {"arena_bytes": arena}
