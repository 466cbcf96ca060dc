"""The three kinds of networks that the project is for, in full int8."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from random_data import randomize, values

import keras_share as ks

BLOCKS = {
    "transformer": lambda: ks.blocks.TransformerBlock(2, 64),
    "conformer": lambda: ks.blocks.ConformerBlock(2, 64, 3, activation="relu"),
    "separable": lambda: ks.blocks.SeparableConvBlock(3, rank=1),
}
# In Micro the rounding of FULLY_CONNECTED differs from LiteRT's where a value is near
# the middle between two steps, which attention and normalization then spread.
MICRO_STEPS = {"transformer": 10, "conformer": 10, "separable": 0}


@pytest.fixture(scope="module", params=BLOCKS)
def system(request, tmp_path_factory):
    stack = ks.SharedStack(BLOCKS[request.param](), "ABAB")
    model = randomize(keras.Sequential([keras.Input((6, 32)), stack]))
    for site in stack.sites:
        for variable in site.weights:
            if variable.name == "gamma":
                signs = np.where(np.arange(variable.shape[0]) % 2, 1, -1)
                variable.assign(signs * np.abs(variable.numpy()))
    x = values(8, 6, 32)
    quantized = ks.quantize_model(model, x, strict=True)
    path = tmp_path_factory.mktemp("system") / "model.tflite"
    types = {"inference_input_type": "int8", "inference_output_type": "int8"}
    report = ks.export_tflite(quantized, path, representative_dataset=x, **types)
    return request.param, stack, path, report, x


def test_nothing_is_in_floating_point(system):
    _, _, _, report, _ = system
    assert not report.float_operators
    kinds = {operator.name for operator in report.operators}
    assert not kinds & {"QUANTIZE", "DEQUANTIZE"}


def test_each_tied_kernel_is_one_buffer(system):
    _, stack, _, report, _ = system
    assert report.duplicate_bytes == 0
    groups = [stack.blocks[0], stack.blocks[1]]
    kernels = [
        int(np.prod(v.shape))
        for block in groups
        for v in block.weights
        if len(v.shape) > 1
    ]
    biases = {32, 64}
    stored = [b.nbytes for b in report.buffers if b.dtype == "int8" and b.uses > 1]
    expected = sorted(n for n in kernels if n not in biases)
    assert sorted(n for n in stored if n in expected) == expected


def test_runs_on_a_microcontroller(system):
    pytest.importorskip("tflite_micro")
    name, _, path, _, x = system
    run = ks.tflite.run_micro(path, x, raw=True)
    assert 1_000 < run.arena_bytes < 200_000
    difference = np.abs(run.outputs.astype(int) - _reference(path, x).astype(int))
    assert difference.max() <= MICRO_STEPS[name]
    assert difference.mean() <= 0.6


def _reference(path, x):
    """What LiteRT's reference kernels return, as integers."""
    interpreter = Interpreter(
        str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    [takes], [gives] = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = takes["quantization"]
    rows = np.clip(np.round(x / scale + zero), -128, 127).astype("int8")
    outputs = []
    for row in rows:
        interpreter.set_tensor(takes["index"], row[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(gives["index"])[0])
    return np.array(outputs)
