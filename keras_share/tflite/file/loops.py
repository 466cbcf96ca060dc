"""`carry_integers`: what goes around in a loop is integers, as it is inside."""

import copy

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.unused import drop_buffers, drop_tensors

_QUANTIZE, _DEQUANTIZE, _FILL = "QUANTIZE", "DEQUANTIZE", "FILL"


def carry_integers(model: schema.ModelT) -> None:
    """Takes out the conversions at both ends of the bodies of loops.

    TensorFlow's converter makes integers of what is computed in the body of a WHILE,
    and leaves what is handed from step to step in floating point: the body begins by
    rounding it, and ends by the way back, with the same scale.

    Args:
        model: A parsed file, which is changed in place.
    """
    for graph in model.subgraphs:
        loops = [
            op
            for op in graph.operators
            if flatbuffer.operator_name(model, op) == "WHILE"
        ]
        for op in loops:
            for place in range(len(op.inputs)):
                _carry(model, graph, op, place)
        if loops:
            _simplify(model, graph)
    drop_tensors(model)
    drop_buffers(model)


def _carry(
    model: schema.ModelT, graph: schema.SubGraphT, op: schema.OperatorT, place: int
) -> None:
    """Makes integers of one tensor that a loop carries, if its body does."""
    condition = model.subgraphs[op.builtinOptions.condSubgraphIndex]
    body = model.subgraphs[op.builtinOptions.bodySubgraphIndex]
    taken, given = int(body.inputs[place]), int(body.outputs[place])
    rounding = [x for x in body.operators if taken in x.inputs]
    back = [x for x in body.operators if given in x.outputs]
    if not back or taken in body.outputs:
        return
    names = {flatbuffer.operator_name(model, x) for x in rounding}
    if names - {_QUANTIZE} or flatbuffer.operator_name(model, back[0]) != _DEQUANTIZE:
        return
    integers = body.tensors[back[0].inputs[0]]
    if any(_kind(body.tensors[x.outputs[0]]) != _kind(integers) for x in rounding):
        return
    body.outputs = _with(body.outputs, place, int(back[0].inputs[0]))
    _retype(body.tensors[taken], integers)
    _replace(model, body, {int(x.outputs[0]): taken for x in rounding})
    dead = rounding if _is_read(body, given) else [*rounding, back[0]]
    _remove(body, dead)
    _retype(condition.tensors[condition.inputs[place]], integers)
    where = next(i for i, x in enumerate(graph.operators) if x is op)
    before, behind = int(op.inputs[place]), int(op.outputs[place])
    first, last = (_add(graph, outer, integers) for outer in (before, behind))
    op.inputs = _with(op.inputs, place, first)
    op.outputs = _with(op.outputs, place, last)
    graph.operators[where : where + 1] = [
        _convert(model, schema.BuiltinOperator.QUANTIZE, before, first),
        op,
        _convert(model, schema.BuiltinOperator.DEQUANTIZE, last, behind),
    ]


def _add(graph: schema.SubGraphT, like: int, integers: schema.TensorT) -> int:
    """Adds a tensor that is like another one but of integers; returns its number."""
    tensor = copy.copy(graph.tensors[like])
    tensor.buffer = 0
    _retype(tensor, integers)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _convert(model: schema.ModelT, code: int, source: int, to: int) -> schema.OperatorT:
    op = schema.OperatorT()
    codes = [known.builtinCode for known in model.operatorCodes]
    if code not in codes:
        made = schema.OperatorCodeT()
        made.builtinCode = made.deprecatedBuiltinCode = code
        model.operatorCodes.append(made)
    op.opcodeIndex = codes.index(code) if code in codes else len(codes)
    op.inputs, op.outputs = np.array([source], np.int32), np.array([to], np.int32)
    return op


def _with(tensors: np.ndarray, place: int, tensor: int) -> np.ndarray:
    changed = np.array(tensors, np.int32)
    changed[place] = tensor
    return changed


def _simplify(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    """Takes out conversions of constants, and those that follow their opposites."""
    made = {int(i): op for op in graph.operators for i in op.outputs}
    dead = []
    for op in graph.operators:
        if flatbuffer.operator_name(model, op) != _QUANTIZE:
            continue
        source, output = int(op.inputs[0]), graph.tensors[op.outputs[0]]
        values = flatbuffer.buffer_bytes(model, graph.tensors[source].buffer)
        floats = graph.tensors[source].type == schema.TensorType.FLOAT32
        if source in made:
            back = made[source]
            opposite = flatbuffer.operator_name(model, back) == _DEQUANTIZE
            integers = int(back.inputs[0])
            if opposite and _kind(graph.tensors[integers]) == _kind(output):
                _replace(model, graph, {int(op.outputs[0]): integers})
                dead.append(op)
            elif flatbuffer.operator_name(model, back) == _FILL:
                _fill(model, graph, back, op)
        elif values and floats:
            output.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT(_rounded(values, output)))
            dead.append(op)
    _remove(graph, dead)
    unread = [
        op
        for op in graph.operators
        if flatbuffer.operator_name(model, op) in (_DEQUANTIZE, _FILL)
        and not _is_read(graph, int(op.outputs[0]))
    ]
    _remove(graph, unread)


def _fill(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    op: schema.OperatorT,
    rounding: schema.OperatorT,
) -> None:
    """Turns the rounding of a tensor of one number into a tensor of integers."""
    size, value = map(int, op.inputs)
    integers = graph.tensors[rounding.outputs[0]]
    values = flatbuffer.buffer_bytes(model, graph.tensors[value].buffer)
    number = _add(graph, value, integers)
    graph.tensors[number].buffer = len(model.buffers)
    model.buffers.append(schema.BufferT(_rounded(values, integers)))
    rounding.opcodeIndex = op.opcodeIndex
    rounding.builtinOptionsType = op.builtinOptionsType
    rounding.builtinOptions = op.builtinOptions
    rounding.inputs = np.array([size, number], np.int32)


def _rounded(values: bytes, like: schema.TensorT) -> np.ndarray:
    """Floating-point numbers as the integers of a tensor, in bytes."""
    dtype = np.dtype(flatbuffer.dtype_name(like.type))
    limits = np.iinfo(dtype)
    [scale], [zero_point] = like.quantization.scale, like.quantization.zeroPoint
    integers = np.round(np.frombuffer(values, np.float32) / scale) + zero_point
    clipped = np.clip(integers, limits.min, limits.max).astype(dtype)
    return np.frombuffer(clipped.tobytes(), np.uint8)


def _kind(tensor: schema.TensorT) -> tuple:
    """What a tensor's integers stand for."""
    found = tensor.quantization
    return tensor.type, *map(float, found.scale), *map(int, found.zeroPoint)


def _retype(tensor: schema.TensorT, like: schema.TensorT) -> None:
    tensor.type, tensor.quantization = like.type, like.quantization


def _is_read(graph: schema.SubGraphT, tensor: int) -> bool:
    readers = [graph.outputs, *(op.inputs for op in graph.operators)]
    return any(tensor in tensors for tensors in readers)


def _replace(
    model: schema.ModelT, graph: schema.SubGraphT, numbers: dict[int, int]
) -> None:
    """Lets tensors be read in the place of others."""
    for op in graph.operators:
        op.inputs = np.array([numbers.get(int(i), i) for i in op.inputs], np.int32)
    graph.outputs = np.array([numbers.get(int(i), i) for i in graph.outputs], np.int32)
    for signature in model.signatureDefs or ():
        if model.subgraphs[signature.subgraphIndex] is graph:
            for end in signature.outputs:
                end.tensorIndex = numbers.get(int(end.tensorIndex), end.tensorIndex)


def _remove(graph: schema.SubGraphT, dead: list[schema.OperatorT]) -> None:
    graph.operators = [op for op in graph.operators if all(op is not x for x in dead)]
