"""`Builder`: a quantized model, built step by step from what was decided for each."""

import copy
from typing import Any

import keras
from keras import ops, tree

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.names import scope_name
from keras_share.flat.rebuild import Rebuilder
from keras_share.layers.recurrent import Recurrent
from keras_share.layers.transposed import Transposed
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.float_edge import BETWEEN, ENTER, LEAVE, FloatEdge
from keras_share.quantize.placement import (
    Placement,
    only_moves,
    taken_apart,
    takes_one_tensor_twice,
)
from keras_share.quantize.quantization import Quantization
from keras_share.quantize.quantize_weights import QuantizeWeights
from keras_share.quantize.quantized_transposed import QuantizedTransposed
from keras_share.quantize.ranges import Range, values_of
from keras_share.quantize.rules import operation_name

_MUCH_FINER = 4


class Builder:
    """Builds the quantized model of a graph.

    Args:
        graph: The graph.
        placements: What is done with each step.
        ranges: The range of each tensor that is integers.
        quantization: How the model is quantized.
    """

    def __init__(
        self,
        graph: FlatGraph,
        placements: dict[Step, Placement],
        ranges: dict[keras.KerasTensor, Range],
        quantization: Quantization,
    ):
        self.graph = graph
        self.placements = placements
        self.ranges = ranges
        self.quantization = quantization
        self.rebuilder = Rebuilder(graph, wrap=self._wrap)
        self.rules = {
            s.op: p.rule
            for s, p in placements.items()
            if p.rule.weights and not p.is_float
        }
        self.fakes: dict[Range, FakeQuantize] = {}
        self.floats: dict[keras.KerasTensor, Any] = {}  # as float steps read them
        self.given: dict[keras.KerasTensor, Any] = {}  # inputs that nothing rounds
        self.tables: dict[int, str] = {}  # names of what looks up, by id of weights

    def build(self) -> keras.Model:
        """The model, with copies of the layers."""
        for tensor in tree.flatten(self.graph.inputs):
            self.given[tensor] = self.rebuilder.resolve(tensor)
            x = self._round(tensor, self.given[tensor])
            self.rebuilder.set(tensor, x)
        self._run()
        return self.rebuilder.finish()

    def finer(self, tensors: set[keras.KerasTensor]) -> set[keras.KerasTensor]:
        """Of the tensors that `read_apart` found, those that need ranges of their own.

        Once the model is calibrated: their steps are finer by two bits than the steps
        of what they are joined to.
        """
        found = set()
        for step in self.graph:
            joined = self._known(tree.flatten(step.outputs)[0])
            if joined is None or self.placements[step].output != "input":
                continue
            for x in tensors.intersection(step.inputs):
                own = self._known(x)
                if own and own.step < joined.step / _MUCH_FINER:
                    found.add(x)
        return found

    def _known(self, tensor: keras.KerasTensor) -> FakeQuantize | None:
        found = self.ranges.get(tensor)
        return None if found is None else self.fakes.get(found)

    def _run(self) -> None:
        for step in self.graph:
            tensors = tree.flatten(step.outputs)
            outputs = tree.flatten(self._call(step))
            for tensor, output in zip(tensors, outputs, strict=True):
                rounded = self._is_rounded(step, tensor)
                mean = operation_name(step.op) == "average_pool"
                x = output if rounded else self._round(tensor, output, mean)
                self.rebuilder.set(tensor, x)

    def _loop(self, step: Step, body: FlatGraph) -> Any:
        inner = copy.copy(self)
        inner.graph = body
        inner.rebuilder = self.rebuilder.nested(body)
        inner._run()
        y, *new = inner.rebuilder.resolve(body.outputs)
        # The states go back in, in the range in which they came.
        new = [
            inner._handed(tensor, x, state)
            for state, tensor, x in zip(
                body.inputs[step.op.sequences :], body.outputs[1:], new, strict=True
            )
        ]
        given = [
            self._handed(tensor, self.rebuilder.resolve(tensor), place)
            for place, tensor in zip(body.inputs, step.inputs, strict=False)
        ]
        rounders = [self._rounder(x) for x in (*body.inputs, body.outputs[0])]
        settings = {**step.op.settings(), "name": step.name, "rounders": rounders}
        return Recurrent(inner.rebuilder.model([y, *new]), **settings)(*given)

    def _handed(self, tensor: Any, x: Any, to: keras.KerasTensor) -> Any:
        """A value as another tensor takes it over, in that one's range."""
        same = self.ranges.get(tensor) is self.ranges.get(to)
        return x if same else self._round(to, x)

    def _call(self, step: Step) -> Any:
        if self.placements[step].output == "weights":
            self.tables[id(step.weights[0])] = self.rebuilder.layer(step).name
            # Numbers that are places, too, as beside a mask that is made of them.
            places = {x: self.given[x] for x in step.inputs if x in self.given}
            return self._call_on(step, places)
        if self.quantization.activations is None:
            return self._call_on(step, {})
        if self.placements[step].is_float:
            return self._call_in_float(step)
        if takes_one_tensor_twice(self.graph, step):
            x, y = step.inputs
            other = self._requantize(y, y, step)
            return getattr(ops, operation_name(step.op))(
                self.rebuilder.resolve(x), other
            )
        return self._call_on(step, self._requantized(step))

    def _requantized(self, step: Step) -> dict[keras.KerasTensor, Any]:
        """The inputs that a step takes behind an edge, in the range of its output.

        Left to itself the converter also changes a range far before, where it cuts off.
        """
        [first, *_] = tree.flatten(step.outputs)
        wide = self.quantization.activations == 16
        apart = dict.fromkeys(taken_apart(self.graph, step, wide))
        given = {x: self._requantize(x, x, step) for x in apart if x in self.ranges}
        if given:
            return given
        if self.placements[step].output != "input" or first not in self.ranges:
            return {}
        for x in dict.fromkeys(values_of(step)):
            if self.ranges.get(x) in (None, self.ranges[first]):
                continue
            given[x] = self._requantize(x, first, step)
        return given

    def _requantize(self, x: keras.KerasTensor, to: Any, step: Step) -> Any:
        """A tensor in the range of another, as a step reads it."""
        edge = FloatEdge(BETWEEN, name=f"{self._name(x)}_into_{step.name}")
        fake = self._fake(to, in_tables=True)  # behind an edge none is seen to have it
        assert fake is not None
        return self.rebuilder.here(fake)(edge(self.rebuilder.resolve(x)))

    def _call_on(self, step: Step, given: dict[keras.KerasTensor, Any]) -> Any:
        """Calls a step on other tensors than later ones read."""
        before = {x: self.rebuilder.resolve(x) for x in given}
        for x, value in given.items():
            self.rebuilder.set(x, value)
        body = step.body
        outputs = self.rebuilder.call(step) if body is None else self._loop(step, body)
        for x, value in before.items():
            self.rebuilder.set(x, value)
        return outputs

    def _call_in_float(self, step: Step) -> list[Any]:
        """Calls a step between edges to what is computed in integers."""
        for x in step.inputs:
            if x in self.ranges and x not in self.floats:
                edge = FloatEdge(ENTER, name=f"{self._name(x)}_enters_float")
                self.floats[x] = edge(self.rebuilder.resolve(x))
        given = {x: self.floats[x] for x in step.inputs if x in self.floats}
        outputs = tree.flatten(self._call_on(step, given))
        for i, tensor in enumerate(tree.flatten(step.outputs)):
            self.floats[tensor] = outputs[i]
            if tensor in self.ranges:
                edge = FloatEdge(LEAVE, name=f"{self._name(tensor)}_leaves_float")
                outputs[i] = edge(outputs[i])
        return outputs

    def _name(self, tensor: keras.KerasTensor) -> str:
        producer = self.graph.producer(tensor)
        if producer is None:
            return tensor.name
        outputs = tree.flatten(producer.outputs)
        place = next(i for i, x in enumerate(outputs) if x is tensor)
        return f"{producer.name}_{place}" if len(outputs) > 1 else producer.name

    def _is_rounded(self, step: Step, tensor: keras.KerasTensor) -> bool:
        """Whether a step's output has integers because its input has them."""
        if step.body is not None:
            return not self.placements[step].is_float
        moved = self.placements[step].output == "input" and only_moves(step)
        inputs = [self.ranges.get(x) for x in values_of(step)]
        return moved and self.ranges.get(tensor) in inputs

    def _round(self, tensor: keras.KerasTensor, x: Any, is_mean: bool = False) -> Any:
        fake = self._fake(tensor)
        if fake is None:
            return x
        return self.rebuilder.here(fake)(x, **{"is_mean": True} if is_mean else {})

    def _rounder(self, tensor: keras.KerasTensor) -> str | None:
        """The name of the layer that rounds a tensor."""
        fake, found = self._fake(tensor), self.ranges.get(tensor)
        if fake is None and found is not None and found.weights is not None:
            return self.tables.get(found.weights)
        return None if fake is None else fake.name

    def _fake(
        self, tensor: keras.KerasTensor, in_tables: bool = False
    ) -> FakeQuantize | None:
        """What rounds a tensor; what is looked up in a table of integers has it."""
        found, bits = self.ranges.get(tensor), self.quantization.activations
        if found is None or bits is None:
            return None
        if found.weights and bits == 8 and not in_tables:
            return None
        if found not in self.fakes:
            name, others = scope_name(f"{found.name}_range"), self.fakes.values()
            while any(fake.name == name for fake in others):
                name += "_"
            self.fakes[found] = FakeQuantize(bits, found.fixed, name=name)
        return self.fakes[found]

    def _wrap(self, copy: keras.Layer, original: keras.Layer) -> keras.Layer:
        rule = self.rules.get(original)
        if rule is None:
            return copy
        bits = self.quantization.weight_bits(rule.min_bits)
        if isinstance(copy, Transposed):
            return QuantizedTransposed.of(copy, bits)
        axes = {name: rule.channel_axes(original) for name in rule.weights}
        wrapper = QuantizeWeights(copy, bits, axes, name=copy.name)
        wrapper.trainable = copy.trainable  # else the layer can't be unfrozen by it
        return wrapper
