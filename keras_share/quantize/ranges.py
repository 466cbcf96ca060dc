"""Which tensors of a graph are integers, and which of them have one range."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import keras

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.opened import Opened
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
) -> dict[int, Range]:
    """The range of each tensor that is integers, by id.

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
            inputs = _numbers(step.inputs)
            for tensor in [*inputs, *_numbers(keras.tree.flatten(step.outputs))]:
                finder.unite(inputs[0], tensor)
    loops = _same_places(graph, Opened)
    blocks = _same_places(graph, keras.Layer) if per_group else []
    for same in [*loops, *blocks]:
        for tensor in same:
            finder.unite(same[0], tensor)
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
    times = Counter(
        id(layer) for step in graph for layer, place in _layers(step) if place == 0
    )
    places: dict[tuple, list[keras.KerasTensor]] = {}
    starts: dict[int, tuple | None] = {}
    for index, step in enumerate(graph):
        layers = [(x, place) for x, place in _layers(step) if isinstance(x, kind)]
        repeated = [(id(x), place) for x, place in layers if times[id(x)] > 1]
        starts[id(step)] = None
        if not repeated:
            continue
        block, place = repeated[0]
        starts[id(step)] = (block, index - place)
        for i, tensor in enumerate(_numbers(keras.tree.flatten(step.outputs))):
            places.setdefault((block, place, "out", i), []).append(tensor)
        for i, tensor in enumerate(_numbers(step.inputs)):
            producer = graph.producer(tensor)
            outside = producer is None or starts[id(producer)] != starts[id(step)]
            if outside:
                places.setdefault((block, place, "in", i), []).append(tensor)
    return list(places.values())


def _layers(step: Step) -> list[tuple[Any, int]]:
    return [*step.within, (step.op, 0)]


class _Finder:
    """Sets of tensors that grow together (a disjoint-set forest)."""

    def __init__(self):
        self.parents: dict[int, int] = {}
        self.ranges: dict[int, Range] = {}

    def add(self, tensor: Any, first: Range) -> None:
        if id(tensor) not in self.parents:
            self.parents[id(tensor)] = id(tensor)
            self.ranges[id(tensor)] = first

    def start(self, placement: Placement, step: Step, name: str) -> Range:
        """The range of an output of a step before others are made one with it."""
        if isinstance(placement.output, tuple):
            return Range(name, fixed=placement.output)
        if placement.output == "weights":
            return Range(name, weights=id(step.weights[0]))
        if placement.output == "input":
            first, *rest = [self.ranges[id(x)] for x in _numbers(step.inputs)]
            if all(first.fits(other) for other in rest):
                return Range(name, first.fixed, first.weights)
        return Range(name)

    def unite(self, first: Any, second: Any) -> None:
        if id(first) not in self.parents or id(second) not in self.parents:
            return
        a, b = self._root(id(first)), self._root(id(second))
        if a != b and self.ranges[a].fits(self.ranges[b]):
            self.parents[b] = a

    def found(self) -> dict[int, Range]:
        return {tensor: self.ranges[self._root(tensor)] for tensor in self.parents}

    def _root(self, tensor: int) -> int:
        while self.parents[tensor] != tensor:
            tensor = self.parents[tensor]
        return tensor
