"""How far a file is from the quantized model that simulates it, in steps."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.flatten import flatten
from keras_share.flat.folding import base_layer
from keras_share.flat.tensors import corresponding, replaced
from keras_share.quantize import QuantizeWeights
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.rules import operation_name
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.signatures import signatures
from keras_share.tflite.runtimes.apart import RunError, run_apart

_TIE = 2e-3  # of a step: what lies so near to the middle of two goes either way


class Compared(NamedTuple):
    """One output of a file and of its model, samples along the first axis.

    Attributes:
        steps: How far the file is off, in steps of the output's range.
        tied: The samples in which next to nothing decided a rounding before it.
    """

    steps: np.ndarray
    tied: np.ndarray


def compare(
    model: keras.Model, data: bytes, x: list[np.ndarray], mode: str = "reference"
) -> list[Compared]:
    """Runs samples through both; compares the outputs that the model rounds."""
    [(key, _, takes, gives)] = signatures(flatbuffer.read(data))
    rows = [[part[None] for part in row] for row in zip(*x, strict=True)]
    calls = [(key, dict(zip(takes, row, strict=True)), {}) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        path.write_bytes(data)
        try:
            found = run_apart("run_once", mode, str(path), calls, timeout=300)
        except RunError:  # there is no such kernel of some operators
            found = run_apart("run_once", "builtin", str(path), calls, timeout=300)
    graph = flatten(model, leaves=(QuantizeWeights,), inference=True)
    numbers, margins = _simulated(graph, x)
    compared = []
    for name, end in zip(gives, keras.tree.flatten(graph.outputs), strict=True):
        if not isinstance(graph.producer(end).op, FakeQuantize):
            continue
        off = np.concatenate([row[name] for row in found]) - numbers[end]
        before = _before(graph, end)
        margin = np.min([margins[y] for y in before if y in margins], axis=0)
        scale = graph.producer(end).op.step
        compared.append(Compared(np.abs(off) / scale, margin < _TIE))
    return compared


def _simulated(graph: FlatGraph, x: list[np.ndarray]) -> tuple[dict, dict]:
    """The values of all tensors, and how near to a tie those were that were rounded."""
    inputs = keras.tree.flatten(graph.inputs)
    numbers = dict(zip(inputs, map(keras.ops.convert_to_tensor, x), strict=True))
    margins = {}
    for step in graph:
        args, kwargs = replaced((step.args, step.kwargs), numbers)
        numbers.update(corresponding(step.outputs, step.op(*args, **kwargs)))
        # A weight that operations read has no batch.
        of_batch = step.output.shape[:1] in ((None,), (len(x[0]),))
        if isinstance(step.op, FakeQuantize) and of_batch:
            places = _in_kernel(graph, step, keras.ops.convert_to_numpy(args[0]))
            numbers[step.output] = step.op(places * step.op.step)
            places = np.where(np.isfinite(places), places, 0.0).reshape(len(x[0]), -1)
            margins[step.output] = np.abs(places % 1 - 0.5).min(axis=1)
    return numbers, margins


def _in_kernel(graph: FlatGraph, step: Step, x: np.ndarray) -> np.ndarray:
    """Numbers in steps of the range they are rounded to, as a kernel has them.

    Reference kernels multiply integers by a factor of 31 bits, round, shift, and round
    again. With a shift of few bits it counts: of factors between 1/4 and 1/2 a quarter
    of all numbers goes another way.
    """
    places = x / step.op.step
    maker = graph.producer(step.inputs[0])
    scales = [
        given.op.step
        for y in keras.tree.flatten(maker.args if maker else ())
        if isinstance(y, keras.KerasTensor)
        if isinstance((given := graph.producer(y)) and given.op, FakeQuantize)
    ]
    if not scales:
        return places
    name = operation_name(maker.op)
    factors = np.prod(scales) / step.op.step
    if name == "multiply" and len(scales) == 2:
        return _rounded(places, factors)
    if name == "leaky_relu":
        lower = factors * maker.op.negative_slope
    elif isinstance(layer := base_layer(maker), keras.layers.PReLU):
        lower = factors * np.abs(layer.alpha).max() / 127
    else:
        return places
    return np.where(places < 0, _rounded(places, lower), _rounded(places, factors))


def _rounded(places: np.ndarray, factor: float) -> np.ndarray:
    """Rounds to what is left before the bits below one are shifted out."""
    finest = 2.0 ** max(-np.frexp(factor)[1], 0)
    steps = np.sign(places) * np.floor(np.abs(places) * finest + 0.5) / finest
    return steps + np.sign(steps) * 1e-4  # halves go away from zero


def _before(graph: FlatGraph, tensor: keras.KerasTensor) -> set[keras.KerasTensor]:
    found, left = set(), [tensor]
    while left:
        tensor = left.pop()
        step = graph.producer(tensor)
        if tensor not in found and step is not None:
            left += step.inputs
        found.add(tensor)
    return found


def check_steps(compared: list[Compared]) -> None:
    """Asserts that outputs are as near as kernels round, where no tie decides."""
    for place, found in enumerate(compared):
        assert found.steps[~found.tied].max(initial=0) < 2.01, place
        assert found.steps.max() < 20, place  # what a tie can become behind a quotient
    untied = np.concatenate([found.steps[~found.tied].ravel() for found in compared])
    assert untied.size > 100
    assert np.mean(untied > 1.01) < 0.001
