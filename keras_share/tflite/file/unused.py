"""Taking out of a model what nothing refers to."""

from collections.abc import Iterable

import numpy as np

from keras_share.tflite.file.flatbuffer import schema


def drop_tensors(model: schema.ModelT) -> None:
    """Takes out tensors that no operator, end of a subgraph or signature names."""
    ends: dict[int, list[schema.TensorMapT]] = {}
    for signature in model.signatureDefs or ():
        for names in (signature.inputs, signature.outputs):
            ends.setdefault(signature.subgraphIndex, []).extend(names or ())
    for index, graph in enumerate(model.subgraphs):
        nodes = [graph, *graph.operators]
        named = {int(i) for node in nodes for i in (*node.inputs, *node.outputs)}
        for op in graph.operators:
            named.update(() if op.intermediates is None else map(int, op.intermediates))
        named.update(int(end.tensorIndex) for end in ends.get(index, ()))
        kept = [i for i in range(len(graph.tensors)) if i in named]
        if len(kept) == len(graph.tensors):
            continue
        number = {i: position for position, i in enumerate(kept)} | {-1: -1}
        graph.tensors = [graph.tensors[i] for i in kept]
        for node in nodes:
            node.inputs = _renumbered(node.inputs, number)
            node.outputs = _renumbered(node.outputs, number)
        for op in graph.operators:
            if op.intermediates is not None:
                op.intermediates = _renumbered(op.intermediates, number)
        for end in ends.get(index, ()):
            end.tensorIndex = number[int(end.tensorIndex)]


def drop_buffers(model: schema.ModelT) -> None:
    """Takes out buffers that no tensor and no metadata refers to.

    Buffer 0 stays: it is empty and stands for no content.
    """
    used = {0}
    used.update(int(t.buffer) for graph in model.subgraphs for t in graph.tensors)
    used.update(int(entry.buffer) for entry in model.metadata or ())
    if model.metadataBuffer is not None:
        used.update(map(int, model.metadataBuffer))
    kept = [index for index in range(len(model.buffers)) if index in used]
    number = {index: position for position, index in enumerate(kept)}
    model.buffers = [model.buffers[index] for index in kept]
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = number[int(tensor.buffer)]
    for entry in model.metadata or ():
        entry.buffer = number[int(entry.buffer)]
    if model.metadataBuffer is not None:
        model.metadataBuffer = _renumbered(model.metadataBuffer, number)


def drop_codes(model: schema.ModelT) -> None:
    """Takes out codes of operators that no operator has."""
    used = sorted({op.opcodeIndex for g in model.subgraphs for op in g.operators})
    number = {index: position for position, index in enumerate(used)}
    model.operatorCodes = [model.operatorCodes[index] for index in used]
    for graph in model.subgraphs:
        for op in graph.operators:
            op.opcodeIndex = number[op.opcodeIndex]


def _renumbered(indices: Iterable[int], number: dict[int, int]) -> np.ndarray:
    return np.array([number[int(i)] for i in indices], np.int32)
