"""`calibrate`: the activation ranges of a quantized model from samples."""

import math
import warnings
from functools import cached_property

import keras
import numpy as np
from keras import tree

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.flatten import flatten
from keras_share.layers.recurrent import traced_once
from keras_share.layers.sublayers import sublayers
from keras_share.quantize.fake_quantize import LEAST, FakeQuantize
from keras_share.quantize.float_edge import FloatEdge
from keras_share.quantize.look_up import LookUp
from keras_share.quantize.quantize_weights import QuantizeWeights
from keras_share.quantize.representative import Representative, batches
from keras_share.quantize.rules import ORDERS, operation_name

# A score by so much below the largest gets no weight: exp(-12) is less than half a step
# of a softmax in 16 bits.
_UNSEEN = 12.0
_WORTH = 4.0  # times the range that is left; it no longer follows a training then
_JUMP = 1 / 8  # of all that a function takes
_MOVES = (*ORDERS, "broadcast_to", "get_item", "repeat", "tile")


def calibrate(model: keras.Model, representative_dataset: Representative) -> None:
    """Sets the activation ranges of a quantized model to those of the samples.

    Scores end where a softmax gives them no weight, and so does what is added to them:
    beside a mask of -1e9 among the inputs, integers could tell none of them apart.
    These ranges stay as they are in training.

    Args:
        model: A model from `quantize_model`.
        representative_dataset: Samples, as in `quantize_model`.

    Raises:
        ValueError: If the dataset doesn't fit the model, or the model makes numbers of
            it that are not finite.
    """
    layers = [part for part in sublayers(model) if isinstance(part, FakeQuantize)]
    # Read before the ranges are touched: bad samples leave the model as it was.
    dataset = list(batches(representative_dataset, model, batch_size=32))
    try:
        for layer in layers:
            layer.start_observing()
        with traced_once(model):
            for batch in dataset:
                model(tree.pack_sequence_as(model.input, batch), training=False)
        reach = _Reach(model)
        for layer, low in reach.floors(layers).items():
            layer.raise_low(low)
        faint = [f"{x.width:.1g} of '{x.name}'" for x in layers if 0 < x.width < LEAST]
    finally:
        for layer in layers:
            layer.stop_observing()
    for layer in layers:
        low, high = layer.ends()
        if not np.isfinite(high - low):
            raise ValueError(
                "With every sample of `representative_dataset` all numbers in the "
                "model must be finite. What is divided by, or taken the logarithm or "
                "root of, must be kept from zero with `ops.maximum`, such as the count "
                "of the valid places of a sample, which may have none. Received: range "
                f"[{low}, {high}] of '{layer.name}'"
            )
    if faint:
        warnings.warn(
            "Of numbers that are all within 1e-6 TFLite's converter makes no fine "
            "integers, and what they tell is lost. Scale the samples, or train a "
            "model in which they fade, before it is quantized. Received: ranges of "
            f"{', '.join(faint[:3])}",
            stacklevel=3,
        )
    if jumps := reach.jumps():
        warnings.warn(
            "Functions that jump are coarse where their input has 256 values: what is "
            f"near a jump comes out on its other side. Received: {', '.join(jumps)}. "
            "With quantization='int16' or 'dynamic' the input is finer; `skip` leaves "
            "in floating point what it names, such as these and what computes their "
            "input.",
            stacklevel=3,
        )


class _Reach:
    """What the numbers of a quantized model make a difference to."""

    def __init__(self, model: keras.Model):
        self.model = model
        self.lows: dict[FakeQuantize, float] = {}

    @cached_property
    def graph(self) -> FlatGraph:
        return flatten(self.model, leaves=(QuantizeWeights, LookUp))

    @cached_property
    def rounded(self) -> dict[FakeQuantize, list[Step]]:
        found: dict[FakeQuantize, list[Step]] = {}
        for step in self.graph:
            if isinstance(step.op, FakeQuantize):
                found.setdefault(step.op, []).append(step)
        return found

    def jumps(self) -> list[str]:
        """The look-ups whose results change by much from one integer to the next."""
        found: list[str] = []
        if not any(isinstance(x, LookUp) for x in sublayers(self.model)):
            return found
        for step in self.graph:
            rounds = isinstance(step.op, LookUp) and self._rounds(step.inputs[0])
            if rounds:
                results = step.op.results(np.linspace(*rounds.ends(), num=256))
                if not np.abs(np.diff(results)).max() <= _JUMP * np.ptp(results):
                    found.append(f"'{step.name.removesuffix('.look_up')}'")
        return found

    def floors(self, layers: list[FakeQuantize]) -> dict[FakeQuantize, float]:
        """Where ranges begin to make a difference, of which most makes none."""
        found = {}
        for layer in layers:
            least, most = layer.ends()
            # What lies so near to the top makes a difference.
            wide = most - least > _WORTH * _UNSEEN
            if wide and not layer.fixed and layer in self.rounded:
                low = self._of(layer)
                if most - least > _WORTH * (most - low):
                    found[layer] = low
        return found

    def _of(self, layer: FakeQuantize) -> float:
        if layer not in self.lows:
            self.lows[layer] = -math.inf  # for a range that is an input of its own
            steps = self.rounded[layer]
            self.lows[layer] = min(self._of_tensor(step.output) for step in steps)
        return self.lows[layer]

    def _of_tensor(self, tensor: keras.KerasTensor) -> float:
        if self.graph.is_output(tensor):
            return -math.inf
        readers = self.graph.consumers(tensor)
        return min((self._read_by(x, tensor) for x in readers), default=-math.inf)

    def _read_by(self, step: Step, tensor: keras.KerasTensor) -> float:
        if isinstance(step.op, FakeQuantize) and step.op is not self._rounds(tensor):
            return self._of(step.op)
        name, shape = operation_name(step.op), tensor.shape
        if isinstance(step.op, (FakeQuantize, FloatEdge)) or name in _MOVES:
            return self._of_tensor(step.output)
        if name == "softmax" and step.op.axis in (-1, len(shape) - 1):
            # A logarithm tells the smallest weights apart.
            seen_by = [x.op for x in self.graph.consumers(step.output)]
            if not all(isinstance(x, (FakeQuantize, FloatEdge)) for x in seen_by):
                return -math.inf
            rounds = self._rounds(tensor)
            # All scores of no weight together have none, either.
            margin = _UNSEEN + math.log(shape[-1] or 1)
            if rounds is not None and np.isfinite(rounds.least_top):
                return rounds.least_top - margin
        if name == "add" and len(step.inputs) == 2:
            [other] = [x for x in step.inputs if x is not tensor]
            rounds = self._rounds(other)
            if rounds is not None:
                return self._of_tensor(step.output) - rounds.ends()[1]
        return -math.inf

    def _rounds(self, tensor: keras.KerasTensor) -> FakeQuantize | None:
        return rounded_by(self.graph, tensor)


def rounded_by(graph: FlatGraph, tensor: keras.KerasTensor) -> FakeQuantize | None:
    """What rounded a tensor of a quantized model, which may have been moved since."""
    step = graph.producer(tensor)
    if step is None or isinstance(step.op, FakeQuantize):
        return None if step is None else step.op
    moves = isinstance(step.op, FloatEdge) or operation_name(step.op) in _MOVES
    return rounded_by(graph, step.inputs[0]) if moves else None
