"""`keep_float`: what was left in floating point is so in the file, and nothing else."""

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from keras_share.export.tables import TableWriter
from keras_share.quantize.float_edge import BETWEEN, ENTER, LEAVE
from keras_share.quantize.look_up import LookUp
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.parts import new_constant
from keras_share.tflite.file.stored import read_stored, shape_of
from keras_share.tflite.file.unused import drop_codes, drop_tensors
from keras_share.tflite.inspect.calls import called_subgraphs

# Of these a kernel computes nothing: they are how numbers change their type.
_BETWEEN = ("DEQUANTIZE", "QUANTIZE")
# The converter writes some of these before it rounds.
_MOVES = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE", "TRANSPOSE")


def keep_float(model: schema.ModelT, look_ups: Iterable[LookUp] = ()) -> None:
    """Takes the edges out of a parsed file, and checks what lies between them.

    Each edge of a quantized model (`FloatEdge`) is an operator of the file here.
    Operators that hang together behind those that enter floating point, or before those
    that leave it, are what was left out. The converter may have made integers of some
    of them, whose outputs have ranges of their own, such as a softmax: they become
    floating again. All others must compute with integers.

    Args:
        model: The parsed file of a model whose activations are integers.
        look_ups: Its layers that look up, which are written as tables.

    Raises:
        ValueError: If the file computes something in floating point that the model
            computes in integers, or the other way round.
    """
    floating: set[int] = set()  # subgraphs that floating operators run
    graphs, tables = model.subgraphs, TableWriter(model, look_ups)
    for index, graph in enumerate(graphs):
        if index not in floating:
            floating |= _mend(model, graph, tables)
    left = list(floating)
    while left:
        graph = graphs[left.pop()]
        _make_float(model, graph, list(graph.operators))
        called = {i for op in graph.operators for i in called_subgraphs(op)} - floating
        floating |= called
        left += called
    drop_tensors(model)
    drop_codes(model)


def drop_edges(model: schema.ModelT) -> None:
    """Takes the edges out of a parsed file whose activations are floats."""
    for graph in model.subgraphs:
        _bypass(model, graph, [op for op in graph.operators if _edge(model, op)])
    drop_tensors(model)
    drop_codes(model)


def _edge(model: schema.ModelT, op: schema.OperatorT) -> str | None:
    kind = flatbuffer.operator_name(model, op).removeprefix("CUSTOM:").split(":")[0]
    return kind if kind in (BETWEEN, ENTER, LEAVE) else None


def _mend(
    model: schema.ModelT, graph: schema.SubGraphT, tables: TableWriter
) -> set[int]:
    """Mends one subgraph; returns those that its floating operators run."""
    _round_before_moving(model, graph)
    tables.write(graph)
    edges: list[schema.OperatorT] = []
    others: list[tuple[schema.OperatorT, list[int]]] = []
    beyond: list[int] = []  # tensors on the floating side of an edge
    parts = DisjointSet(range(len(graph.tensors)))
    for op in graph.operators:
        kind = _edge(model, op)
        if kind is not None:
            edges.append(op)
            if kind != BETWEEN:
                beyond.append(int((op.outputs if kind == ENTER else op.inputs)[0]))
            continue
        ends = [i for i in map(int, (*op.inputs, *op.outputs)) if i >= 0]
        numbers = [i for i in ends if _is_number(model, graph.tensors[i])]
        others.append((op, numbers))
        for tensor in numbers[1:]:
            parts.merge(numbers[0], tensor)
    in_float = {parts[tensor] for tensor in beyond}
    in_integers = {
        parts[i]
        for _, numbers in others
        for i in numbers
        if _is_integer(graph.tensors[i])
    } - in_float
    inside = []
    for op, numbers in others:
        part = parts[numbers[0]] if numbers else None
        if part in in_float:
            inside.append(op)
        elif part in in_integers:
            _check_integers(model, graph, op)
    _make_float(model, graph, inside)
    _bypass(model, graph, edges)
    _requantize(model, graph)
    return {i for op in inside for i in called_subgraphs(op)}


def _round_before_moving(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    readers = defaultdict(list)
    for op in graph.operators:
        for tensor in map(int, op.inputs):
            readers[tensor].append(op)
    for move in reversed(graph.operators):
        name = flatbuffer.operator_name(model, move)
        follows = readers[int(move.outputs[0])] if name in _MOVES else []
        if [flatbuffer.operator_name(model, op) for op in follows] != ["QUANTIZE"]:
            continue
        [rounds] = follows
        before, after = map(int, (move.inputs[0], rounds.outputs[0]))
        between = graph.tensors[move.outputs[0]]
        if flatbuffer.dtype_name(between.type) == "float32":
            # They change places, and the tensor between them its form and type.
            source, result = graph.tensors[before], graph.tensors[after]
            between.shape, between.shapeSignature = source.shape, source.shapeSignature
            between.type, between.quantization = result.type, result.quantization
            moved = copy.copy(vars(move))
            vars(move).update(vars(rounds), inputs=[before], outputs=moved["outputs"])
            moved["inputs"] = [*moved["outputs"], *moved["inputs"][1:]]
            vars(rounds).update(moved, outputs=[after])


def _requantize(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    """Lets integers be rounded to others directly."""
    integers = {}
    for op in graph.operators:
        name = flatbuffer.operator_name(model, op)
        if name == "DEQUANTIZE":
            integers[int(op.outputs[0])] = int(op.inputs[0])
        elif name == "QUANTIZE":
            op.inputs = [integers.get(int(op.inputs[0]), int(op.inputs[0]))]
    read = {int(i) for op in graph.operators for i in op.inputs}
    read.update(map(int, graph.outputs))
    graph.operators = [
        op
        for op in graph.operators
        if int(op.outputs[0]) in read
        or flatbuffer.operator_name(model, op) != "DEQUANTIZE"
    ]
    _bypass(model, graph, [op for op in graph.operators if _keeps(model, graph, op)])


def _keeps(model: schema.ModelT, graph: schema.SubGraphT, op: schema.OperatorT) -> bool:
    """Whether an operator rounds integers to the same integers."""
    if flatbuffer.operator_name(model, op) != "QUANTIZE":
        return False
    before, after = (graph.tensors[i] for i in (op.inputs[0], op.outputs[0]))
    return (
        before.type == after.type
        and _is_integer(before)
        and np.array_equal(before.quantization.scale, after.quantization.scale)
        and np.array_equal(before.quantization.zeroPoint, after.quantization.zeroPoint)
    )


def _is_number(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    """Whether a tensor is computed, and of numbers that are or could be rounded."""
    floats = flatbuffer.dtype_name(tensor.type) == "float32"
    computed = not flatbuffer.has_content(model, tensor)
    return computed and (floats or _is_integer(tensor))


def _is_integer(tensor: schema.TensorT) -> bool:
    scale = None if tensor.quantization is None else tensor.quantization.scale
    return scale is not None and np.size(scale) > 0


def _make_float(
    model: schema.ModelT, graph: schema.SubGraphT, operators: list[schema.OperatorT]
) -> None:
    """Undoes the rounding within a part that was left in floating point."""
    between = [
        op for op in operators if flatbuffer.operator_name(model, op) in _BETWEEN
    ]
    for op in operators:
        op.inputs = [_unrounded(model, graph, op, int(i)) for i in op.inputs]
        for tensor in (graph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0):
            if _is_integer(tensor):
                tensor.type = schema.TensorType.FLOAT32
                tensor.quantization = None
    _bypass(model, graph, between)


def _unrounded(
    model: schema.ModelT, graph: schema.SubGraphT, op: schema.OperatorT, index: int
) -> int:
    """An input of an operator that is to be floating; of what is stored, zeros only."""
    tensor = graph.tensors[index]
    if index < 0 or not (_is_integer(tensor) and flatbuffer.has_content(model, tensor)):
        return index
    stored = read_stored(model, tensor)
    if stored is None or np.any(stored.values):  # what they were rounded from is lost
        _refuse(model, graph, op, "integers", "in floating point")
    return new_constant(model, graph, np.zeros(shape_of(tensor), "float32"))


def _check_integers(
    model: schema.ModelT, graph: schema.SubGraphT, op: schema.OperatorT
) -> None:
    if flatbuffer.operator_name(model, op) not in _BETWEEN and any(
        flatbuffer.dtype_name(graph.tensors[i].type) == "float32"
        for i in op.outputs
        if i >= 0
    ):
        _refuse(model, graph, op, "floating-point numbers", "in integers")


def _refuse(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    op: schema.OperatorT,
    found: str,
    wanted: str,
) -> None:
    place = flatbuffer.text(graph.tensors[op.outputs[0]].name)
    raise ValueError(
        f"The file must compute {wanted} what the model computes so. Received: the "
        f"operator {flatbuffer.operator_name(model, op)} of '{place}' with {found}. "
        "With dynamic_batch=True, leave the batch size fixed: the converter makes "
        "integers of fewer layers otherwise. Else report this with the model, please."
    )


def _bypass(
    model: schema.ModelT, graph: schema.SubGraphT, operators: Sequence[schema.OperatorT]
) -> None:
    """Takes operators out that hand on what they are given."""
    source = {int(op.outputs[0]): int(op.inputs[0]) for op in operators}
    taken = set(map(id, operators))
    graph.operators = [op for op in graph.operators if id(op) not in taken]
    for node in graph.operators:
        node.inputs = _followed(node.inputs, source)
    graph.outputs = _followed(graph.outputs, source)
    for signature in model.signatureDefs or ():
        if model.subgraphs[signature.subgraphIndex] is graph:
            for end in signature.outputs:
                [end.tensorIndex] = map(int, _followed([end.tensorIndex], source))


def _followed(tensors: Sequence[int], source: Mapping[int, int]) -> np.ndarray:
    def first(tensor: int) -> int:
        return first(source[tensor]) if tensor in source else tensor

    return np.array([first(tensor) for tensor in map(int, tensors)], np.int32)
