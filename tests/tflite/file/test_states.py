import copy

import numpy as np
import pytest

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.parts import new_operator, new_tensor
from keras_share.tflite.file.states import carry_states, keep_inside
from keras_share.tflite.runtimes.apart import run_apart


def counter():
    """A file that adds what it gets to its state, rounded at both ends."""
    model = schema.ModelT()
    model.version, model.operatorCodes, model.metadata = 3, [], []
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.name, graph.tensors = b"main", []
    real = schema.TensorT()
    real.type, real.name, real.shape = schema.TensorType.FLOAT32, b"x", np.array([1, 2])
    integer = copy.copy(real)
    integer.type = schema.TensorType.INT8
    for like, scale in ((real, None), (integer, 0.5)):
        for _ in range(3):
            new_tensor(graph, like, (1, 2), scale)
    # State, sample and sum: reals 0 to 2, integers 3 to 5.
    options = schema.AddOptionsT()
    graph.operators = [
        new_operator(model, "QUANTIZE", [0], 3),
        new_operator(model, "QUANTIZE", [1], 4),
        new_operator(model, "ADD", [3, 4], 5, options, version=2),
        new_operator(model, "DEQUANTIZE", [5], 2, version=2),
    ]
    graph.inputs = np.array([0, 1], np.int32)
    graph.outputs = np.array([2, 5], np.int32)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serve", 0
    signature.inputs = [_end(b"sum.state", 0), _end(b"x", 1)]
    signature.outputs = [_end(b"sum.state", 2), _end(b"y", 5)]
    model.subgraphs, model.signatureDefs = [graph], [signature]
    return model


def _end(name, tensor):
    end = schema.TensorMapT()
    end.name, end.tensorIndex = name, tensor
    return end


def operators(model):
    graph = model.subgraphs[0]
    return [flatbuffer.operator_name(model, op) for op in graph.operators]


def run(model, path):
    path.write_bytes(flatbuffer.pack(model))
    rows = [{"x": np.array([[i, 1.0]], np.float32)} for i in range(4)]
    outputs = run_apart("run_steps", str(path), rows, timeout=60)
    return [row["y"].ravel().tolist() for row in outputs]


def test_states_are_carried_as_integers_and_kept_inside(tmp_path):
    model = counter()
    sums = [[0, 2], [2, 4], [6, 6], [12, 8]]
    assert run(model, tmp_path / "rounded") == sums
    carry_states(model, ["sum.state"])
    assert operators(model) == ["QUANTIZE", "ADD"]
    assert run(model, tmp_path / "integers") == sums
    keep_inside(model, ["sum.state"])
    assert operators(model) == [
        *("CALL_ONCE", "VAR_HANDLE", "QUANTIZE", "READ_VARIABLE", "ADD"),
        "ASSIGN_VARIABLE",
    ]
    assert run(model, tmp_path / "inside") == sums


def test_a_state_of_two_scales_is_an_error():
    model = counter()
    model.subgraphs[0].tensors[5].quantization = copy.deepcopy(
        model.subgraphs[0].tensors[5].quantization
    )
    model.subgraphs[0].tensors[5].quantization.scale = np.array([0.25], np.float32)
    with pytest.raises(ValueError, match=r"Received: the state 'sum.state'"):
        carry_states(model, ["sum.state"])
