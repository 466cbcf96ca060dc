"""Pads and crops of several axes, parted: that of time is known by its frames alone."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops, tree

from keras_share.flat.written import LayerUse
from keras_share.quantize.rules import operation_name

_LAYERS = (
    *(layers.Cropping2D, layers.Cropping3D, layers.ZeroPadding2D, layers.ZeroPadding3D),
)


def parted(op: keras.Operation, args: tuple, kwargs: dict) -> Callable[..., Any] | None:
    """What writes a pad or crop of time and other axes as one of each; None else.

    Args:
        op: A layer or operation.
        args: What it is called with.
        kwargs: The same by name.
    """
    if isinstance(op, _LAYERS) and op.data_format == "channels_last":
        return _parted_layer(op)
    if operation_name(op) == "pad":
        return _parted_pad(op, kwargs)
    if operation_name(op) == "get_item":
        key = args[1] if len(args) > 1 else kwargs["key"]
        return _parted_slices(key) if isinstance(key, tuple) else None
    return None


def _parted_layer(op: keras.Layer) -> Callable[..., Any] | None:
    time, *others = op.padding if hasattr(op, "padding") else op.cropping
    if not (any(time) and any(tree.flatten(others))):
        return None
    none = (0, 0)

    def write(use: LayerUse, x: Any) -> Any:
        x = type(op)((none, *others), name=f"{op.name}_others")(x)
        return type(op)((time, *[none] * len(others)), name=f"{op.name}_time")(x)

    return write


def _parted_pad(op: keras.Operation, kwargs: dict) -> Callable[..., Any] | None:
    batch, time, *others = op.pad_width
    if op.mode != "constant" or not (any(time) and any(tree.flatten([batch, others]))):
        return None
    value = kwargs.get("constant_values")
    none = (0, 0)

    def write(use: LayerUse, x: Any, **_: Any) -> Any:
        x = ops.pad(x, (batch, none, *others), "constant", value)
        return ops.pad(x, (none, time, *[none] * len(others)), "constant", value)

    return write


def _parted_slices(key: tuple) -> Callable[..., Any] | None:
    whole = slice(None)
    if len(key) < 3 or key[0] != whole or key[1] == whole or key[2] == whole:
        return None
    if not all(isinstance(k, (int, slice)) for k in key):
        return None
    others = (whole, whole, *key[2:])
    return lambda use, x, *_, **__: x[others][:, key[1]]
