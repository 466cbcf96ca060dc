"""What a .tflite file says of itself, held against what is in it."""

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

# What several tables have in common, each reads anew: at most so often a file's size.
SHARING = 16
MOST_NUMBERS = 2**62  # of a tensor


def check_counts(root: schema.Model, size: int) -> None:
    """Bounds the work of unpacking, which loops as often as the file says.

    An entry of a vector of tables takes 4 bytes: a file can't have more of them, but
    for one that refers to the same table again and again.
    """
    entries = sum(
        (
            root.OperatorCodesLength(),
            root.SubgraphsLength(),
            root.BuffersLength(),
            root.MetadataLength(),
            root.SignatureDefsLength(),
        )
    )
    parts = [
        (root.SubgraphsLength, root.Subgraphs, "TensorsLength", "OperatorsLength"),
        (root.SignatureDefsLength, root.SignatureDefs, "InputsLength", "OutputsLength"),
    ]
    for length, get, *counts in parts:
        for i in range(length()):
            if entries * 4 > size:
                break
            part = get(i)
            entries += sum(getattr(part, count)() for count in counts)
    if entries * 4 <= size:
        within, numbers = _within(root)
        entries += within
        if numbers * 4 > SHARING * size:
            raise ValueError(f"{numbers} inputs and outputs in {size} bytes")
    if entries * 4 > size:
        raise ValueError(f"{entries} entries in {size} bytes")


def _within(root: schema.Model) -> tuple[int, int]:
    """Entries within tensors, and inputs and outputs of operators."""
    entries = numbers = 0
    for graph in map(root.Subgraphs, range(root.SubgraphsLength())):
        for tensor in map(graph.Tensors, range(graph.TensorsLength())):
            sparsity = tensor.Sparsity()
            entries += tensor.VariantTensorsLength()
            entries += 0 if sparsity is None else sparsity.DimMetadataLength()
        for op in map(graph.Operators, range(graph.OperatorsLength())):
            numbers += op.InputsLength() + op.OutputsLength()
    return entries, numbers


def complete(model: schema.ModelT, raw: bytes) -> None:
    """Fills in what a file may leave out or keep behind the flatbuffer."""
    model.operatorCodes = model.operatorCodes or []
    model.subgraphs = model.subgraphs or []
    model.buffers = model.buffers or []
    for buffer in model.buffers:
        if buffer.offset > 1:  # 1 marks an offset that was never filled in
            buffer.data = _behind(raw, buffer.offset, buffer.size)
            buffer.offset = buffer.size = 0
    for graph in model.subgraphs:
        graph.tensors = graph.tensors or []
        graph.operators = graph.operators or []
        for node in (graph, *graph.operators):
            node.inputs = [] if node.inputs is None else node.inputs
            node.outputs = [] if node.outputs is None else node.outputs
        for op in graph.operators:
            if op.largeCustomOptionsOffset > 1:
                op.customOptions = _behind(
                    raw, op.largeCustomOptionsOffset, op.largeCustomOptionsSize
                )
                op.largeCustomOptionsOffset = op.largeCustomOptionsSize = 0


def _behind(raw: bytes, offset: int, size: int) -> np.ndarray:
    if offset + size > len(raw):
        raise ValueError(f"a buffer ends at byte {offset + size} of {len(raw)}")
    return np.frombuffer(raw, np.uint8, size, offset)


def check_references(model: schema.ModelT) -> None:
    """Raises an error unless all that a file refers to is in it."""
    buffers = [entry.buffer for entry in model.metadata or ()]
    buffers += [] if model.metadataBuffer is None else list(model.metadataBuffer)
    for graph in model.subgraphs:
        buffers += [tensor.buffer for tensor in graph.tensors]
        for tensor in graph.tensors:
            shape = () if tensor.shape is None else tensor.shape
            if math.prod(max(1, int(n)) for n in shape) > MOST_NUMBERS:
                raise ValueError(f"a tensor of {len(shape)} axes is too large")
        codes = [op.opcodeIndex for op in graph.operators]
        _check_range("operator code", codes, len(model.operatorCodes))
        for node in (graph, *graph.operators):
            # -1 stands for an optional input that is left out.
            tensors = [i for i in (*node.inputs, *node.outputs) if i != -1]
            _check_range("tensor", tensors, len(graph.tensors))
    _check_range("buffer", buffers, len(model.buffers))
    for signature in model.signatureDefs or ():
        _check_range("subgraph", [signature.subgraphIndex], len(model.subgraphs))
        graph = model.subgraphs[signature.subgraphIndex]
        for names, tensors in (
            (signature.inputs, graph.inputs),
            (signature.outputs, graph.outputs),
        ):
            if not {end.tensorIndex for end in names or ()} <= set(map(int, tensors)):
                raise ValueError("a signature names no input or output of its subgraph")


def _check_range(what: str, indices: list[int], count: int) -> None:
    for index in indices:
        if not 0 <= index < count:
            raise IndexError(f"{what} {index} of {count} is referred to")
