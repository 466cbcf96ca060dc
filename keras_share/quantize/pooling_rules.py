"""Poolings that TFLite has no operator for, written with what it has."""

from typing import Any

import keras
from keras import layers, ops

from keras_share.flat.flatten import OWN_CALL
from keras_share.flat.written import LayerUse
from keras_share.quantize.rules import operation_name, writes

_KINDS = (
    "AveragePooling",
    "MaxPooling",
    "AdaptiveAveragePooling",
    "AdaptiveMaxPooling",
)
_OF_VOLUMES = tuple(  # the adaptive ones came with Keras 3.13
    getattr(layers, f"{kind}3D") for kind in _KINDS if hasattr(layers, f"{kind}3D")
)
_ADAPTIVE = ("adaptive_average_pool", "adaptive_max_pool")


@writes(
    *_ADAPTIVE, how="int8, as a pooling; of sizes that are multiples of the output's"
)
def _adaptive_pool(use: LayerUse, x: Any) -> Any:
    op = use.op
    sizes, wanted = x.shape[1:-1], op.output_size
    if op.data_format != "channels_last" or any(
        size is None or size % new for size, new in zip(sizes, wanted, strict=True)
    ):
        use.refuse("the sizes of its input are no multiples of its output's")
    window = tuple(size // new for size, new in zip(sizes, wanted, strict=True))
    return _pool(op)(x, window, window, padding="valid")


def pooling_of_volumes(op: keras.Operation, args: tuple) -> Any:
    """What writes a pooling along three axes; None for any other operation.

    The largest of a volume is the largest of those of its images, and its mean is the
    mean of theirs, also at padded ends: each axis leaves out what it pads by itself.
    """
    if isinstance(op, _OF_VOLUMES):
        return OWN_CALL
    if not args or len(getattr(args[0], "shape", ())) != 5:
        return None
    name = operation_name(op)
    if name in _ADAPTIVE:
        return _adaptive_pool
    return _pool_by_axes if name in ("average_pool", "max_pool") else None


def _pool_by_axes(use: LayerUse, x: Any) -> Any:
    """Pools the images, and then the places of all images along the depth."""
    op = use.op
    if op.data_format != "channels_last" or None in x.shape[1:]:
        use.refuse("the sizes of its input are not known, or its channels come first")
    depth, *image, channels = x.shape[1:]
    size, strides = (
        (n,) * 3 if isinstance(n, int) else tuple(n)
        for n in (op.pool_size, op.strides or op.pool_size)
    )
    pool = _pool(op)
    x = ops.reshape(x, (-1, *image, channels))
    x = pool(x, size[1:], strides[1:], padding=op.padding)
    image = x.shape[1:3]
    x = ops.reshape(x, (-1, depth, image[0] * image[1], channels))
    x = pool(x, (size[0], 1), (strides[0], 1), padding=op.padding)
    return ops.reshape(x, (-1, x.shape[1], *image, channels))


def _pool(op: keras.Operation) -> Any:
    return ops.max_pool if "max" in operation_name(op) else ops.average_pool
