"""Which tensors of a graph are integers, and which of them have one range."""

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.states import state_names
from keras_share.flat.tensors import tensors
from keras_share.layers.held_weight import HeldWeight, ToBatch
from keras_share.quantize.placement import OF_SEVERAL, Placement, constants
from keras_share.quantize.rules import operation_name


@dataclass(eq=False)
class Range:
    """A quantization range, of one tensor or several.

    Attributes:
        name: Of the first tensor that has it.
        fixed: Its ends, where TFLite fixes them.
        weights: Id of the weights whose range it is, where values are looked up.
    """

    name: str
    fixed: tuple[float, float] | None = None
    weights: int | None = None

    def fits(self, other: "Range") -> bool:
        """Whether two ranges can become one.

        If not, a requantization stands between them, which the converter writes.
        """
        return (self.fixed, self.weights) == (other.fixed, other.weights)

    def holds(self, numbers: Sequence[Any]) -> bool:
        """Whether numbers are in it; it grows if nothing fixes it."""
        low, high = self.fixed or ((0, 0) if self.weights else (-np.inf, np.inf))
        return all(np.min(x) >= low and np.max(x) <= high for x in numbers)


def find_ranges(
    graph: FlatGraph,
    placements: dict[Step, Placement],
    per_group: bool = False,
    apart: Set[keras.KerasTensor] = frozenset(),
) -> dict[keras.KerasTensor, Range]:
    """The range of each tensor that is integers.

    Args:
        graph: The graph.
        placements: What is done with each step.
        per_group: Whether the sites that share a block also share its ranges.
        apart: Of `read_apart`, what has a range of its own, and that of the others
            where it is joined to them.
    """
    finder = _Finder(placements, apart)
    finder.add_steps(graph)
    for name in state_names(graph.inputs, graph.outputs):  # out as it goes in again
        finder.unite([graph.inputs[name], graph.outputs[name]])
    for same in _same_places(graph) if per_group else []:
        finder.unite(same)
    return finder.found()


def read_apart(
    graph: FlatGraph, placements: dict[Step, Placement]
) -> set[keras.KerasTensor]:
    """What is joined to other tensors, in one range, and read elsewhere as well.

    Beside much larger ones its own numbers can be too small for that range.
    """
    found = set()
    for step in graph:
        if operation_name(step.op) in OF_SEVERAL and not placements[step].is_float:
            given = dict.fromkeys(values_of(step))
            for x in given if len(given) > 1 else ():
                readers = [y for y in graph.consumers(x) if not placements[y].is_float]
                if len(readers) > 1 or graph.is_output(x):
                    found.add(x)
    return found


def _numbers(tensors: list) -> list[keras.KerasTensor]:
    return [x for x in tensors if "float" in x.dtype]


def values_of(step: Step) -> list[keras.KerasTensor]:
    """The numbers that a step computes with; of some inputs only the size is read."""
    count = {HeldWeight: 0, ToBatch: 1}.get(type(step.op))
    return _numbers(step.inputs if count is None else tensors(step.args[:count]))


def _name(graph: FlatGraph, tensor: keras.KerasTensor) -> str:
    producer = graph.producer(tensor)
    return producer.name if producer else tensor.name


def _is_fused(graph: FlatGraph, placements: dict, tensor: keras.KerasTensor) -> bool:
    producer = graph.producer(tensor)
    return producer is not None and placements[producer].output == "next"


def _same_places(graph: FlatGraph) -> list[list[keras.KerasTensor]]:
    """Tensors that are in the same place of a block, at its different sites.

    Blocks are the outermost layers that run several times.

    A tensor within a block is known by the step that makes it, one that enters it by
    the step that reads it: what one site hands to the next then has the range that
    the next one expects.
    """
    steps = list(graph.all_steps)
    times = Counter(x for step in steps for x, place in _layers(step) if place == 0)
    producers = {x: s for s in steps for x in keras.tree.flatten(s.outputs)}
    places: dict[tuple, list[keras.KerasTensor]] = {}
    starts: dict[Step, tuple[keras.Layer, int]] = {}
    for index, step in enumerate(steps):
        repeated = [x for x in _layers(step) if isinstance(x[0], keras.Layer)]
        repeated = [x for x in repeated if times[x[0]] > 1]
        if not repeated:
            continue
        block, place = repeated[0]
        starts[step] = (block, index - place)
        for i, tensor in enumerate(_numbers(keras.tree.flatten(step.outputs))):
            places.setdefault((block, place, "out", i), []).append(tensor)
        for i, tensor in enumerate(_numbers(step.inputs)):
            producer = producers.get(tensor)
            if producer is None or starts.get(producer) != starts[step]:
                places.setdefault((block, place, "in", i), []).append(tensor)
    return list(places.values())


def _layers(step: Step) -> list[tuple[keras.Operation, int]]:
    return [*step.within, (step.op, 0)]


class _Finder:
    """Tensors that have one range, in sets that grow together."""

    def __init__(
        self, placements: dict[Step, Placement], apart: Set[keras.KerasTensor]
    ):
        self.placements = placements
        self.apart = apart
        self.sets = DisjointSet()
        self.ranges: dict[keras.KerasTensor, Range] = {}  # by root of a set

    def __getitem__(self, tensor: keras.KerasTensor) -> Range:
        return self.ranges[self.sets[tensor]]

    def add(self, tensor: keras.KerasTensor, first: Range) -> None:
        if tensor not in self.sets:
            self.sets.add(tensor)
            self.ranges[tensor] = first

    def add_steps(self, graph: FlatGraph) -> None:
        """Adds what the steps of a graph read and make."""
        for step in graph:
            placement = self.placements[step]
            if placement.is_float:
                continue
            # What is looked up by are places, also where they come as numbers.
            places = placement.output == "weights"
            for tensor in [] if places else values_of(step):
                if not _is_fused(graph, self.placements, tensor):
                    self.add(tensor, Range(_name(graph, tensor)))
            if step.body is not None:
                self._add_loop(step, step.body)
                continue
            for i, tensor in enumerate(_numbers(keras.tree.flatten(step.outputs))):
                if placement.output != "next":
                    name = step.name if i == 0 else f"{step.name}_{i}"
                    self.add(tensor, self.start(placement, step, name))
        for step in graph:
            placement = self.placements[step]
            if placement.output == "input" and not placement.is_float:
                outputs = _numbers(keras.tree.flatten(step.outputs))
                joins = operation_name(step.op) in OF_SEVERAL
                given = self._fitting(values_of(step), outputs)
                given = [x for x in given if not (joins and x in self.apart)]
                self.unite([*given, *outputs])

    def _add_loop(self, step: Step, body: FlatGraph) -> None:
        """Adds a loop, which hands each state on to the next step in one range."""
        count = step.op.sequences
        given, states = step.inputs[count:], body.inputs[count:]
        for place, x in zip(body.inputs[:count], step.inputs, strict=False):
            self._copy(place, x, f"{step.name}_place")
        for i, (state, new) in enumerate(zip(states, body.outputs[1:], strict=True)):
            producer = body.producer(new)
            output = "own" if producer is None else self.placements[producer].output
            fixed = output if isinstance(output, tuple) else None
            self.add(state, Range(f"{step.name}_state_{i}", fixed))
        self.add_steps(body)
        for state, new in zip(states, body.outputs[1:], strict=True):
            self.add(new, self[state])
            self.unite([state, new])
        for state, first in zip(states, given, strict=False):
            self.unite([state, first])
        y, *last = keras.tree.flatten(step.outputs)
        self.add(body.outputs[0], Range(f"{step.name}_output"))
        self._copy(y, body.outputs[0], step.name)
        for i, (state, outer) in enumerate(zip(states, last, strict=False)):
            self._copy(outer, state, f"{step.name}_last_{i}")

    def _copy(self, tensor: keras.KerasTensor, of: keras.KerasTensor, name: str):
        """Adds a tensor that has the values of another one, and so its range."""
        if of in self.sets:
            self.add(tensor, Range(name, self[of].fixed, self[of].weights))
            self.unite([of, tensor])

    def start(self, placement: Placement, step: Step, name: str) -> Range:
        """The range of an output of a step before others are made one with it."""
        if isinstance(placement.output, tuple):
            return Range(name, fixed=placement.output)
        if placement.output == "weights":
            return Range(name, weights=id(step.weights[0]))
        if placement.output == "input":
            given = [self[x] for x in values_of(step)]
            one = bool(given) and all(given[0].fits(other) for other in given)
            if one and given[0].holds(constants(step)):
                return Range(name, given[0].fixed, given[0].weights)
        return Range(name)

    def _fitting(self, inputs: list, outputs: list) -> list[keras.KerasTensor]:
        """The inputs whose range can be that of the outputs."""
        return [x for x in inputs if all(self[x].fits(self[y]) for y in outputs)]

    def unite(self, tensors: Sequence[keras.KerasTensor]) -> None:
        """Gives tensors the range of the first of them, where it fits theirs."""
        first, *others = tensors
        for other in others:
            if first in self.sets and other in self.sets:
                found = self[first]
                if found.fits(self[other]):
                    self.sets.merge(first, other)
                    self.ranges[self.sets[first]] = found

    def found(self) -> dict[keras.KerasTensor, Range]:
        return {tensor: self[tensor] for tensor in self.sets}
