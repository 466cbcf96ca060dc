"""`sum_exactly`: sums and means of integers as products with ones."""

import math
from typing import Any

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.stored import shape_of
from keras_share.tflite.file.unused import drop_codes, drop_tensors

_VERSIONS = {"int8": 4, "int16": 7}  # of FULLY_CONNECTED, from which on it takes these


def sum_exactly(model: schema.ModelT) -> None:
    """Writes sums and means of integers as products.

    LiteRT's reference kernel of SUM ignores the scales of integers, and that of MEAN
    rounds twice, as TFLite Micro's does, so that of four numbers one mean in four is a
    step off. What comes after a mean, such as a root, can make many steps of it.
    Kernels of products round once.

    Args:
        model: The parsed file. What has an open shape in it is left as it is.
    """
    for graph in model.subgraphs:
        graph.operators = [
            part for op in graph.operators for part in _written(model, graph, op)
        ]
    drop_tensors(model)
    drop_codes(model)


def _written(
    model: schema.ModelT, graph: schema.SubGraphT, op: schema.OperatorT
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
        order = np.array(kept + axes, np.int32)
        moved = _tensor(graph, x, tuple(shape[axis] for axis in order))
        axis = _constant(model, graph, order, schema.TensorType.INT32)
        options = schema.TransposeOptionsT()
        written = [_operator(model, "TRANSPOSE", 2, [source, axis], moved, options)]
        source = moved
    flat = _tensor(graph, x, (rows, count))
    summed = _tensor(graph, y, (rows, 1))
    ones = _ones(model, graph, count, 1.0 if name == "SUM" else 1 / count)
    options = schema.FullyConnectedOptionsT()
    kind, version = "FULLY_CONNECTED", _VERSIONS[dtype]
    return [
        *written,
        _reshape(model, graph, source, flat),
        _operator(model, kind, version, [flat, ones, -1], summed, options),
        _reshape(model, graph, summed, result),
    ]


def _reshape(
    model: schema.ModelT, graph: schema.SubGraphT, before: int, after: int
) -> schema.OperatorT:
    shape = np.array(shape_of(graph.tensors[after]), np.int32)
    target = _constant(model, graph, shape, schema.TensorType.INT32)
    options = schema.ReshapeOptionsT()
    options.newShape = shape
    return _operator(model, "RESHAPE", 1, [before, target], after, options)


def _operator(
    model: schema.ModelT,
    name: str,
    version: int,
    inputs: list[int],
    output: int,
    options: Any,
) -> schema.OperatorT:
    number = getattr(schema.BuiltinOperator, name)
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
    code.version = version
    found = [
        i
        for i, known in enumerate(model.operatorCodes)
        if max(known.builtinCode, known.deprecatedBuiltinCode) == number
        and known.version >= version
    ]
    if not found:
        found = [len(model.operatorCodes)]
        model.operatorCodes.append(code)
    op = schema.OperatorT()
    op.opcodeIndex = found[0]
    op.inputs, op.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
    kind = type(options).__name__.removesuffix("T")
    op.builtinOptions = options
    op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    return op


def _tensor(
    graph: schema.SubGraphT, like: schema.TensorT, shape: tuple[int, ...]
) -> int:
    made = schema.TensorT()
    made.shape, made.type, made.buffer = np.array(shape, np.int32), like.type, 0
    made.name, made.quantization = like.name, like.quantization
    graph.tensors.append(made)
    return len(graph.tensors) - 1


def _ones(
    model: schema.ModelT, graph: schema.SubGraphT, count: int, weight: float
) -> int:
    # As a large integer: kernels round a product of small ones twice.
    values = np.full((1, count), 127, np.int8)
    index = _constant(model, graph, values, schema.TensorType.INT8)
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.array([weight / 127], np.float32)
    quantization.zeroPoint = np.array([0], np.int64)
    graph.tensors[index].quantization = quantization
    return index


def _constant(
    model: schema.ModelT, graph: schema.SubGraphT, values: np.ndarray, code: int
) -> int:
    content = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(schema.BufferT(content))
    made = schema.TensorT()
    made.shape, made.type = np.array(values.shape, np.int32), code
    made.buffer, made.name = len(model.buffers) - 1, b"ones"
    graph.tensors.append(made)
    return len(graph.tensors) - 1
