"""Sums and means of integers, which kernels then round once."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from stock import model_of, operator, tensor

from keras_share.export import sums
from keras_share.export.sums import sum_exactly
from keras_share.tflite.file import flatbuffer

KERNELS = ("BUILTIN_REF", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "AUTO")
CASES = [
    (name, axes, keep, dtype)
    for name in ("MEAN", "SUM")
    for axes in ([1], [2, 3], [-1], [1, 3])
    for keep, dtype in ((True, "int8"), (False, "int16"))
]
SHAPE = [1, 4, 6, 5]


def reduction(name, axes, keep, dtype):
    low = -13 if dtype == "int8" else 0

    def ends(scale, zero, shape):
        quantization = {"scale": np.float32([scale]), "zeroPoint": np.int64([zero])}
        return tensor(shape, dtype, **quantization)

    kept = [a for a in range(4) if a not in [axis % 4 for axis in axes]]
    shape = [n if a in kept else 1 for a, n in enumerate(SHAPE) if keep or a in kept]
    scale = 0.0318 if name == "MEAN" else 0.31
    tensors = [ends(0.0529, low, SHAPE), ends(scale, low + 5 if low else 0, shape)]
    tensors.append(tensor([len(axes)], "int32", content=np.int32(axes)))
    op = operator(name, [0, 2], [1], ReducerOptions={"keepDims": keep})
    return model_of((tensors, [op]))


@pytest.mark.parametrize("name, axes, keep, dtype", CASES)
def test_one_rounding_in_all_kernels(name, axes, keep, dtype, monkeypatch):
    model = reduction(name, axes, keep, dtype)
    x, y = model.subgraphs[0].tensors[:2]
    # What nothing reads, only kernels read.
    monkeypatch.setattr(sums, "_only_kernels", lambda *_: False)
    sum_exactly(model)
    limits = np.iinfo(dtype)
    values = np.random.default_rng(0).integers(limits.min, limits.max, (20, *SHAPE))
    real = (values - x.quantization.zeroPoint) * x.quantization.scale.astype("float64")
    places = tuple(axis + 1 if axis >= 0 else axis for axis in axes)
    reduced = (np.mean if name == "MEAN" else np.sum)(real, places)
    exact = reduced / y.quantization.scale + y.quantization.zeroPoint
    expected = np.clip(np.round(exact), limits.min, limits.max)
    tied = np.abs(exact % 1 - 0.5) < 0.02
    for kernels in KERNELS:
        interpreter = Interpreter(
            model_content=flatbuffer.pack(model),
            experimental_op_resolver_type=OpResolverType[kernels],
        )
        interpreter.allocate_tensors()
        [taken], [given] = (
            interpreter.get_input_details(),
            interpreter.get_output_details(),
        )
        found = []
        for row in values.astype(dtype):
            interpreter.set_tensor(taken["index"], row)
            interpreter.invoke()
            found.append(interpreter.get_tensor(given["index"])[0])
        off = np.abs(np.stack(found).reshape(expected.shape) - expected)
        assert off.max() <= 1 and not off[~tied].any()


@pytest.mark.parametrize("reader", [None, "FULLY_CONNECTED", "SUB"])
def test_a_mean_of_an_image_stays_before_kernels(reader):
    model = reduction("MEAN", [1, 3], True, "int8")
    graph = model.subgraphs[0]
    if reader:
        reads = model_of((graph.tensors, [operator(reader, [1, 1], [1])]))
        graph.operators += reads.subgraphs[0].operators
        graph.operators[1].opcodeIndex = len(model.operatorCodes)
        model.operatorCodes += reads.operatorCodes
    sum_exactly(model)
    names = [flatbuffer.operator_name(model, op) for op in graph.operators]
    assert ("MEAN" in names) == (reader != "SUB")


def test_open_shapes_and_floats_stay():
    model = reduction("MEAN", [-1], True, "int8")
    model.subgraphs[0].tensors[0].shapeSignature = np.int32([-1, 4, 6, 5])
    sum_exactly(model)
    [op] = model.subgraphs[0].operators
    assert flatbuffer.operator_name(model, op) == "MEAN"
