"""States of a model of one step: inputs and outputs of a file, or inside of it."""

from collections.abc import Sequence

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.parts import new_constant, new_operator, new_tensor
from keras_share.tflite.file.unused import drop_codes, drop_tensors


def carry_states(model: schema.ModelT, names: Sequence[str]) -> None:
    """Makes integers of the states that a file rounds first and gives back as reals.

    They go in again as they came out.

    Args:
        model: A parsed file of one signature, which is changed in place.
        names: What the states are called, both as inputs and as outputs.

    Raises:
        ValueError: If a state comes out with another type or scale than it goes in.
    """
    if not names:
        return
    [signature] = model.signatureDefs
    graph = model.subgraphs[signature.subgraphIndex]
    takes, gives = (
        {flatbuffer.text(end.name): end for end in ends}
        for ends in (signature.inputs, signature.outputs)
    )
    made = {int(i): op for op in graph.operators for i in op.outputs}
    for name in names:
        taken, given = takes[name], gives[name]
        readers = [op for op in graph.operators if taken.tensorIndex in op.inputs]
        if readers and all(_is(model, op, "QUANTIZE") for op in readers):
            first, *others = (int(op.outputs[0]) for op in readers)
            if all(_same(graph, first, other) for other in others):
                _rename(graph, dict.fromkeys(others, first))
                _end(graph.inputs, taken, first)
                _remove(graph, readers)
        back = made.get(int(given.tensorIndex))
        if back is not None and _is(model, back, "DEQUANTIZE"):
            _end(graph.outputs, given, int(back.inputs[0]))
        if not _same(graph, int(taken.tensorIndex), int(given.tensorIndex)):
            raise ValueError(
                "A state must come out of a file in the scale in which it goes in. "
                f"Received: the state '{name}', of which the converter made two. "
                "Quantize the model of whole sequences, and make the steps of that: "
                "streaming(quantize_model(model, samples), step)"
            )
    read = {int(i) for op in graph.operators for i in op.inputs}
    read.update(map(int, graph.outputs))
    _remove(
        graph,
        [
            op
            for op in graph.operators
            if _is(model, op, "DEQUANTIZE") and int(op.outputs[0]) not in read
        ],
    )
    drop_tensors(model)
    drop_codes(model)


def keep_inside(model: schema.ModelT, names: Sequence[str]) -> None:
    """Makes variables of a file of its states: it keeps them from call to call.

    They are zeros before the first call. Each is read right before its first use and
    written right behind what computes it, so that it takes working memory in between
    only.

    Args:
        model: A parsed file of one signature, which is changed in place.
        names: What the states are called, both as inputs and as outputs.
    """
    [signature] = model.signatureDefs
    graph = model.subgraphs[signature.subgraphIndex]
    start = _empty_graph(b"initial_states")
    takes, gives = (
        {flatbuffer.text(end.name): int(end.tensorIndex) for end in ends}
        for ends in (signature.inputs, signature.outputs)
    )
    handles = []
    for number, name in enumerate(names):
        taken, given = takes[name], gives[name]
        handle, at_start = (_handle(model, g, number) for g in (graph, start))
        handles.append(handle)
        start.operators += [at_start, *_zeros(model, start, graph.tensors[taken])]
        start.operators.append(_assign(model, at_start, start.operators[-1].outputs[0]))
        read = new_operator(
            *(model, "READ_VARIABLE", [int(handle.outputs[0])], taken),
            schema.ReadVariableOptionsT(),
        )
        ops = graph.operators
        first = next(i for i, op in enumerate(ops) if taken in op.inputs)
        ops.insert(first, read)
        made = [i for i, op in enumerate(ops) if given in op.outputs]
        ops.insert(max([first, *made]) + 1, _assign(model, handle, given))
    model.subgraphs.append(start)
    once = schema.CallOnceOptionsT()
    once.initSubgraphIndex = len(model.subgraphs) - 1
    call = new_operator(model, "CALL_ONCE", [], 0, once)
    call.outputs = np.array([], np.int32)
    graph.operators = [call, *handles, *graph.operators]
    for ends, kept in ((signature.inputs, "inputs"), (signature.outputs, "outputs")):
        ends[:] = [end for end in ends if flatbuffer.text(end.name) not in names]
        left = {int(end.tensorIndex) for end in ends}
        numbers = [i for i in map(int, getattr(graph, kept)) if i in left]
        setattr(graph, kept, np.array(numbers, np.int32))
    drop_tensors(model)


def _empty_graph(name: bytes) -> schema.SubGraphT:
    graph = schema.SubGraphT()
    graph.name, graph.tensors, graph.operators = name, [], []
    graph.inputs = graph.outputs = np.array([], np.int32)
    return graph


def _handle(
    model: schema.ModelT, graph: schema.SubGraphT, number: int
) -> schema.OperatorT:
    """An operator that gives the handle of a variable."""
    tensor = schema.TensorT()
    tensor.type, tensor.name = schema.TensorType.RESOURCE, b"state"
    tensor.shape, tensor.buffer = np.array([], np.int32), 0
    graph.tensors.append(tensor)
    options = schema.VarHandleOptionsT()
    options.container, options.sharedName = b"", f"state_{number}".encode()
    return new_operator(model, "VAR_HANDLE", [], len(graph.tensors) - 1, options)


def _assign(
    model: schema.ModelT, handle: schema.OperatorT, value: int
) -> schema.OperatorT:
    inputs = [int(handle.outputs[0]), int(value)]
    options = schema.AssignVariableOptionsT()
    op = new_operator(model, "ASSIGN_VARIABLE", inputs, 0, options)
    op.outputs = np.array([], np.int32)
    return op


def _zeros(
    model: schema.ModelT, graph: schema.SubGraphT, like: schema.TensorT
) -> list[schema.OperatorT]:
    """An operator that makes zeros of the shape and scale of a tensor."""
    dims = new_constant(model, graph, np.array(like.shape, np.int32))
    dtype = np.dtype(flatbuffer.dtype_name(like.type))
    value = new_constant(model, graph, np.array(sum(_range(like)[1]), dtype))
    graph.tensors[value].quantization = like.quantization
    output = new_tensor(graph, like)
    return [new_operator(model, "FILL", [dims, value], output, schema.FillOptionsT())]


def _is(model: schema.ModelT, op: schema.OperatorT, name: str) -> bool:
    return flatbuffer.operator_name(model, op) == name


def _same(graph: schema.SubGraphT, one: int, other: int) -> bool:
    """Whether two tensors have one type and scale."""
    a, b = graph.tensors[one], graph.tensors[other]
    return a.type == b.type and _range(a) == _range(b)


def _range(tensor: schema.TensorT) -> tuple[list[float], list[int]]:
    """Scale and zero point of a tensor, each in a list; two empty ones of reals."""
    found = tensor.quantization
    if found is None or found.scale is None:
        return [], []
    return np.ravel(found.scale).tolist(), np.ravel(found.zeroPoint).tolist()


def _end(ends: np.ndarray, end: schema.TensorMapT, tensor: int) -> None:
    """Lets an end of a subgraph, which a signature names, be another tensor."""
    ends[list(ends).index(end.tensorIndex)] = tensor
    end.tensorIndex = tensor


def _rename(graph: schema.SubGraphT, numbers: dict[int, int]) -> None:
    for node in (graph, *graph.operators):
        node.inputs = [numbers.get(int(i), int(i)) for i in node.inputs]


def _remove(graph: schema.SubGraphT, operators: Sequence[schema.OperatorT]) -> None:
    gone = set(map(id, operators))
    graph.operators = [op for op in graph.operators if id(op) not in gone]
