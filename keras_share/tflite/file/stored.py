"""The numbers that a stored tensor stands for, and how finely it stores them."""

import math
import re
from collections.abc import Container
from typing import NamedTuple

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema

# Half the distance of neighbors at 1, which float types keep relative to the number.
_HALF_UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11}
_SMALLEST_HALF = 2.0**-25  # half the distance of float16's numbers near 0


class Stored(NamedTuple):
    """The numbers of a stored tensor.

    Attributes:
        values: In float32, in the tensor's shape.
        slack: How far each may be from the number it was rounded from: half a step of
            its integers, or half the distance of neighboring floats. An array that can
            be broadcast to the shape.
    """

    values: np.ndarray
    slack: np.ndarray


def read_stored(model: schema.ModelT, tensor: schema.TensorT) -> Stored | None:
    """Reads the numbers of a weight: floats, or integers with a scale.

    Args:
        model: The model of the tensor.
        tensor: A tensor whose buffer has content.

    Returns:
        The numbers, or None if these are no weights in a plain form: text, integers
        without a scale (indices, sizes), sparse tensors, scales of blocks, or numbers
        that are not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        stored = _read(model, tensor)
    if stored is None or not np.isfinite(stored.values).all():
        return None
    return stored


def _read(model: schema.ModelT, tensor: schema.TensorT) -> Stored | None:
    dtype = flatbuffer.dtype_name(tensor.type)
    raw = flatbuffer.buffer_bytes(model, tensor.buffer)
    shape = shape_of(tensor)
    if tensor.sparsity is not None or min(shape, default=0) < 0:
        return None
    if len(raw) != nbytes(tensor):
        return None
    if dtype in _HALF_UNIT:
        values = np.frombuffer(raw, dtype).astype("float32", copy=False).reshape(shape)
        smallest = _SMALLEST_HALF if dtype == "float16" else 0
        return Stored(values, np.abs(values) * _HALF_UNIT[dtype] + smallest)
    scale = _along_channels(tensor, "scale")
    if scale is None or not re.fullmatch(r"u?int(4|8|16|32|64)", dtype):
        return None
    zero_point = _along_channels(tensor, "zeroPoint")
    integers = _unpacked(raw, dtype, math.prod(shape)).reshape(shape)
    integers = integers.astype("float64" if bits(dtype) > 16 else "float32")
    if zero_point is not None and zero_point.any():
        integers = integers - zero_point
    return Stored((integers * scale).astype("float32"), scale / 2)


def constants(
    model: schema.ModelT, graph: schema.SubGraphT, weights: Container[int]
) -> dict[int, schema.TensorT]:
    """The stored tensors of a subgraph by number, and those they stand behind.

    What a DEQUANTIZE makes of a weight counts as this weight: in a file of half
    precision every kernel stands behind such an operator.

    Args:
        model: The model.
        graph: One of its subgraphs.
        weights: Numbers of the buffers that are weights.
    """
    found = {i: t for i, t in enumerate(graph.tensors) if t.buffer in weights}
    for op in graph.operators:
        if flatbuffer.operator_name(model, op) == "DEQUANTIZE":
            for source, target in zip(op.inputs, op.outputs, strict=False):
                if source in found:
                    found[int(target)] = found[source]
    return found


def bits(dtype: str) -> int:
    """Bits that a number of a type takes; 0 for types that don't hold numbers.

    Example:
    >>> bits("float32"), bits("int4"), bits("string")
    (32, 4, 0)
    """
    found = re.search(r"(?:float|int|complex)(\d+)", dtype)
    return 8 if dtype == "bool" else int(found[1]) if found else 0


def nbytes(tensor: schema.TensorT) -> int:
    """Bytes of a tensor by its shape and type; free dimensions count as 1."""
    size = math.prod(abs(n) for n in shape_of(tensor))
    return -(-size * bits(flatbuffer.dtype_name(tensor.type)) // 8)


def shape_of(tensor: schema.TensorT) -> tuple[int, ...]:
    """A tensor's shape, `()` where the file leaves it out."""
    return () if tensor.shape is None else tuple(map(int, tensor.shape))


def _unpacked(raw: bytes, dtype: str, size: int) -> np.ndarray:
    if bits(dtype) > 4:
        return np.frombuffer(raw, dtype)
    pairs = np.frombuffer(raw, np.uint8)
    levels = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1)[:size]
    levels = levels.astype(np.int8)
    return levels if dtype == "uint4" else np.where(levels > 7, levels - 16, levels)


def _along_channels(tensor: schema.TensorT, name: str) -> np.ndarray | None:
    """The scales or zero points, in a shape that goes with the tensor's."""
    parameters = tensor.quantization
    numbers = None if parameters is None else getattr(parameters, name)
    if numbers is None or parameters.details is not None:
        return None
    numbers = np.asarray(numbers)
    shape, axis = shape_of(tensor), parameters.quantizedDimension
    if numbers.size == 1:
        return numbers.reshape(())
    if not 0 <= axis < len(shape) or numbers.size != shape[axis]:
        return None
    return numbers.reshape([-1 if i == axis else 1 for i in range(len(shape))])
