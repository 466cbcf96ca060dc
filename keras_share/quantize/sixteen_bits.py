"""What TFLite computes otherwise, or not at all, where activations have 16 bits."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_share.flat.written import LayerUse
from keras_share.quantize.rules import operation_name

# Of what the converter has no 16-bit operator, or one that runs wrong.
_MISSING = {
    *("broadcast_to", "exp", "log_softmax", "repeat", "resize", "tile"),
    *("equal", "greater", "greater_equal", "less", "less_equal", "not_equal"),
}
_MISSING_LAYERS = (
    layers.AdditiveAttention,  # sums of tensors of different shapes
    layers.RepeatVector,
    layers.Resizing,
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.PReLU,
)
# What takes a root, of which the kernel looks up 512 points in the range of its input:
# those near zero, where it is steep, are far apart.
_ROOTS = (
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.RMSNormalization,
)


def written_in_16_bits(op: Any, args: tuple) -> Callable[..., Any] | None:
    """A function that writes an operation with those that have 16 bits, or None."""
    name = operation_name(op)
    if isinstance(op, _MISSING_LAYERS) or name in _MISSING:
        return _left("TFLite has no 16-bit operator for it")
    if isinstance(op, _ROOTS) or name == "rsqrt":
        return _left("roots in 16 bits are too coarse near zero")
    if name in ("add", "multiply", "subtract") and _constants(args):
        return _with_constant
    return _WRITTEN.get(name)


def _left(reason: str) -> Callable[..., Any]:
    """What leaves an operation in floating point."""
    return lambda use, *args, **kwargs: use.refuse(reason)


def _constants(args: tuple) -> list[Any]:
    return [x for x in args if not isinstance(x, keras.KerasTensor)]


def _with_constant(use: LayerUse, x1: Any, x2: Any) -> Any:
    """`Rescaling`, exported as a convolution of size 1: constants can't be int16."""
    [constant] = _constants((x1, x2))
    if np.ndim(constant):
        use.refuse("its constant is no single number")
    number = float(constant)
    x = x2 if constant is x1 else x1
    scale, offset = {
        "multiply": (number, 0.0),
        "add": (1.0, number),
        "subtract": (-1.0, number) if constant is x1 else (1.0, -number),
    }[operation_name(use.op)]
    return layers.Rescaling(scale, offset, name="scaled")(x)


def _concatenate(use: LayerUse, xs: Any) -> Any:
    axis = use.op.axis % len(xs[0].shape)
    sizes = [x.shape[axis] for x in xs]
    if None in sizes:
        use.refuse("the sizes along its axis are not known")
    total = None
    for i, x in enumerate(xs):
        pads = [[0, 0]] * len(x.shape)
        pads[axis] = [sum(sizes[:i]), sum(sizes[i + 1 :])]
        padded = ops.pad(x, pads)
        total = padded if total is None else total + padded
    return total


def _gelu(use: LayerUse, x: Any) -> Any:
    # The form with tanh, by tanh(y) = 2 sigmoid(2 y) - 1; it differs from that with
    # the error function by less than 0.0005.
    scale = 2 * (2 / np.pi) ** 0.5
    return x * ops.sigmoid(x * (x * x * (scale * 0.044715) + scale))


_WRITTEN: dict[str, Callable[..., Any]] = {
    "concatenate": _concatenate,
    "gelu": _gelu,
    "hard_silu": lambda use, x: x * (ops.relu6(x + 3.0) * (1 / 6)),
}
