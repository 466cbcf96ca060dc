"""Which tensors of a graph are integers, and which of them have one range."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from scipy.cluster.hierarchy import DisjointSet

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.written import Written
from keras_share.quantize.placement import Placement


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


def find_ranges(
    graph: FlatGraph, placements: dict[Step, Placement], per_group: bool = False
) -> dict[keras.KerasTensor, Range]:
    """The range of each tensor that is integers.

    Args:
        graph: The graph.
        placements: What is done with each step.
        per_group: Whether the sites that share a block also share its ranges.
    """
    finder = _Finder()
    for step in graph:
        placement = placements[step]
        if placement.is_float:
            continue
        # What is looked up by are places, also where they come as numbers.
        places = placement.output == "weights"
        for tensor in [] if places else _numbers(step.inputs):
            if not _is_fused(graph, placements, tensor):
                finder.add(tensor, Range(_name(graph, tensor)))
        for i, tensor in enumerate(_numbers(keras.tree.flatten(step.outputs))):
            if placement.output != "next":
                name = step.name if i == 0 else f"{step.name}_{i}"
                finder.add(tensor, finder.start(placement, step, name))
    for step in graph:
        if placements[step].output == "input" and not placements[step].is_float:
            outputs = _numbers(keras.tree.flatten(step.outputs))
            finder.unite([*finder.fitting(_numbers(step.inputs), outputs), *outputs])
    loops = _same_places(graph, Written)
    blocks = _same_places(graph, keras.Layer) if per_group else []
    for same in [*loops, *blocks]:
        finder.unite(same)
    return finder.found()


def _numbers(tensors: list) -> list[keras.KerasTensor]:
    return [x for x in tensors if "float" in x.dtype]


def _name(graph: FlatGraph, tensor: keras.KerasTensor) -> str:
    producer = graph.producer(tensor)
    return producer.name if producer else tensor.name


def _is_fused(graph: FlatGraph, placements: dict, tensor: keras.KerasTensor) -> bool:
    producer = graph.producer(tensor)
    return producer is not None and placements[producer].output == "next"


def _same_places(
    graph: FlatGraph, kind: type[keras.Layer]
) -> list[list[keras.KerasTensor]]:
    """Tensors that are in the same place of a block, at its different sites.

    Blocks are the outermost layers of a kind that run several times.

    A tensor within a block is known by the step that makes it, one that enters it by
    the step that reads it: what one site hands to the next then has the range that
    the next one expects.
    """
    times = Counter(x for step in graph for x, place in _layers(step) if place == 0)
    places: dict[tuple, list[keras.KerasTensor]] = {}
    starts: dict[Step, tuple[keras.Layer, int]] = {}
    for index, step in enumerate(graph):
        repeated = [x for x in _layers(step) if isinstance(x[0], kind)]
        repeated = [x for x in repeated if times[x[0]] > 1]
        if not repeated:
            continue
        block, place = repeated[0]
        starts[step] = (block, index - place)
        for i, tensor in enumerate(_numbers(keras.tree.flatten(step.outputs))):
            places.setdefault((block, place, "out", i), []).append(tensor)
        for i, tensor in enumerate(_numbers(step.inputs)):
            producer = graph.producer(tensor)
            if producer is None or starts.get(producer) != starts[step]:
                places.setdefault((block, place, "in", i), []).append(tensor)
    return list(places.values())


def _layers(step: Step) -> list[tuple[keras.Operation, int]]:
    return [*step.within, (step.op, 0)]


class _Finder:
    """Tensors that have one range, in sets that grow together."""

    def __init__(self):
        self.sets = DisjointSet()
        self.ranges: dict[keras.KerasTensor, Range] = {}  # by root of a set

    def __getitem__(self, tensor: keras.KerasTensor) -> Range:
        return self.ranges[self.sets[tensor]]

    def add(self, tensor: keras.KerasTensor, first: Range) -> None:
        if tensor not in self.sets:
            self.sets.add(tensor)
            self.ranges[tensor] = first

    def start(self, placement: Placement, step: Step, name: str) -> Range:
        """The range of an output of a step before others are made one with it."""
        if isinstance(placement.output, tuple):
            return Range(name, fixed=placement.output)
        if placement.output == "weights":
            return Range(name, weights=id(step.weights[0]))
        if placement.output == "input":
            first, *rest = [self[x] for x in _numbers(step.inputs)]
            if all(first.fits(other) for other in rest):
                return Range(name, first.fixed, first.weights)
        return Range(name)

    def fitting(self, inputs: list, outputs: list) -> list[keras.KerasTensor]:
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
