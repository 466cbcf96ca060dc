"""New tensors and operators for a parsed model."""

from typing import Any

import numpy as np

from keras_share.tflite.file.flatbuffer import schema


def new_operator(
    model: schema.ModelT,
    name: str,
    inputs: list[int],
    output: int,
    options: Any = None,
    version: int = 1,
) -> schema.OperatorT:
    """An operator of one output, which is in no subgraph yet.

    Args:
        model: The model, which gets its code if it has none of that version.
        name: As in LiteRT's schema.
        inputs: Its tensors.
        output: The tensor that it computes.
        options: Such as a `ReshapeOptionsT`.
        version: Of the operator.
    """
    number = getattr(schema.BuiltinOperator, name)
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
    code.version = version
    codes = [
        (max(c.builtinCode, c.deprecatedBuiltinCode), c.version)
        for c in model.operatorCodes
    ]
    if (number, version) not in codes:
        codes.append((number, version))
        model.operatorCodes.append(code)
    op = schema.OperatorT()
    op.opcodeIndex = codes.index((number, version))
    op.inputs, op.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
    if options is not None:
        kind = type(options).__name__.removesuffix("T")
        op.builtinOptions = options
        op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    return op


def new_tensor(
    graph: schema.SubGraphT,
    like: schema.TensorT,
    shape: tuple[int, ...] | None = None,
    scale: float | None = None,
) -> int:
    """A tensor of the type and range of another one, with no content.

    Args:
        graph: The subgraph that gets it.
        like: The other tensor.
        shape: Its shape, if that is another.
        scale: Its scale, if that is another; zero is the integer 0 then.
    """
    made = schema.TensorT()
    made.type, made.name, made.quantization = like.type, like.name, like.quantization
    made.shape, made.shapeSignature = like.shape, like.shapeSignature
    made.buffer = 0
    if shape is not None:
        made.shape, made.shapeSignature = np.array(shape, np.int32), None
    if scale is not None:
        made.quantization = _range(scale)
    graph.tensors.append(made)
    return len(graph.tensors) - 1


def new_constant(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    values: np.ndarray,
    scale: float | None = None,
) -> int:
    """A stored tensor; with a scale if its integers stand for other numbers."""
    content = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(schema.BufferT(content))
    made = schema.TensorT()
    made.shape = np.array(values.shape, np.int32)
    made.type = getattr(schema.TensorType, values.dtype.name.upper())
    made.buffer, made.name = len(model.buffers) - 1, b"constant"
    made.quantization = None if scale is None else _range(scale)
    graph.tensors.append(made)
    return len(graph.tensors) - 1


def _range(scale: float) -> schema.QuantizationParametersT:
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.array([scale], np.float32)
    quantization.zeroPoint = np.array([0], np.int64)
    return quantization
