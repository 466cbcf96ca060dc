"""States of a model of one step: inputs and outputs of a file, or inside of it."""

from collections.abc import Sequence

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
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


def _is(model: schema.ModelT, op: schema.OperatorT, name: str) -> bool:
    return flatbuffer.operator_name(model, op) == name


def _same(graph: schema.SubGraphT, one: int, other: int) -> bool:
    """Whether two tensors have one type and scale."""
    a, b = graph.tensors[one], graph.tensors[other]
    scales = [
        (np.ravel(q.scale), np.ravel(q.zeroPoint))
        if (q := x.quantization) is not None and q.scale is not None
        else ((), ())
        for x in (a, b)
    ]
    return a.type == b.type and all(map(np.array_equal, *scales))


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
