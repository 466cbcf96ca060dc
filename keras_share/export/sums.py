"""`sum_exactly`: sums and means of integers as products with ones."""

import math
from collections import defaultdict

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.kernel_places import KERNEL_OPERATORS
from keras_share.tflite.file.parts import new_constant, new_operator, new_tensor
from keras_share.tflite.file.stored import shape_of
from keras_share.tflite.file.unused import drop_codes, drop_tensors

_RESHAPES = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")
_ONE = 127
_VERSIONS = {"int8": 4, "int16": 7}  # of FULLY_CONNECTED, from which on it takes these


def sum_exactly(model: schema.ModelT) -> None:
    """Writes sums and means of integers as products.

    LiteRT's reference kernel of SUM ignores the scales of integers, and that of MEAN
    rounds twice, as TFLite Micro's does, so that of four numbers one mean in four is a
    step off. What comes after a mean, such as the root of a normalization, can make
    many steps of it. Kernels of products round once. A mean over other than the last
    axes stays where only kernels read it, such as that of an image: to move its axes
    would cost more than the step is worth.

    Args:
        model: The parsed file. What has an open shape in it is left as it is.
    """
    for graph in model.subgraphs:
        readers = defaultdict(list)
        for op in graph.operators:
            for tensor in map(int, op.inputs):
                readers[tensor].append(op)
        graph.operators = [
            part
            for op in graph.operators
            for part in _written(
                model, graph, op, _only_kernels(model, readers, int(op.outputs[0]))
            )
        ]
    drop_tensors(model)
    drop_codes(model)


def _only_kernels(
    model: schema.ModelT, readers: dict[int, list[schema.OperatorT]], tensor: int
) -> bool:
    """Whether products with kernels are all that reads a tensor, or its reshapes."""
    return all(
        _only_kernels(model, readers, int(op.outputs[0]))
        if (name := flatbuffer.operator_name(model, op)) in _RESHAPES
        else name in KERNEL_OPERATORS
        for op in readers.get(tensor, ())
    )


def _written(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    op: schema.OperatorT,
    only_kernels: bool,
) -> list[schema.OperatorT]:
    """The operators that take the place of one; itself where it stays."""
    name = flatbuffer.operator_name(model, op)
    x, y = (graph.tensors[int(ends[0])] for ends in (op.inputs, op.outputs))
    dtype, shape = flatbuffer.dtype_name(x.type), shape_of(x)
    free = x.shapeSignature is not None and min(x.shapeSignature, default=0) < 0
    if name not in ("MEAN", "SUM") or dtype not in _VERSIONS or free:
        return [op]
    places = flatbuffer.buffer_bytes(model, graph.tensors[op.inputs[1]].buffer)
    axes = sorted(int(axis) % len(shape) for axis in np.frombuffer(places, np.int32))
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    count, rows = (math.prod(shape[axis] for axis in part) for part in (axes, kept))
    source, result, written = int(op.inputs[0]), int(op.outputs[0]), []
    if kept + axes != sorted(axes + kept):
        if name == "MEAN" and only_kernels:
            return [op]
        order = np.array(kept + axes, np.int32)
        moved = new_tensor(graph, x, tuple(shape[axis] for axis in order))
        given = [source, new_constant(model, graph, order)]
        options = schema.TransposeOptionsT()
        written = [new_operator(model, "TRANSPOSE", given, moved, options, version=2)]
        source = moved
    flat, summed = new_tensor(graph, x, (rows, count)), new_tensor(graph, y, (rows, 1))
    # As a large integer: kernels round a product of small ones twice.
    values = np.full((1, count), _ONE, np.int8)
    scale = 1 / _ONE if name == "SUM" else 1 / _ONE / count
    given = [flat, new_constant(model, graph, values, scale), -1]
    options, version = schema.FullyConnectedOptionsT(), _VERSIONS[dtype]
    return [
        *written,
        _reshape(model, graph, source, flat),
        new_operator(model, "FULLY_CONNECTED", given, summed, options, version),
        _reshape(model, graph, summed, result),
    ]


def _reshape(
    model: schema.ModelT, graph: schema.SubGraphT, before: int, after: int
) -> schema.OperatorT:
    options = schema.ReshapeOptionsT()
    options.newShape = np.array(shape_of(graph.tensors[after]), np.int32)
    given = [before, new_constant(model, graph, options.newShape)]
    return new_operator(model, "RESHAPE", given, after, options)
