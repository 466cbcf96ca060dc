"""Finding runs of operators that repeat around tied kernels."""

import itertools
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

from keras_share.tflite.file.stored import nbytes
from keras_share.tflite.repeats.line import Line, Operation
from keras_share.tflite.repeats.operators import SIZES

# How many operators to each side of a kernel are looked at first.
_FIRST_REACH = 256


@dataclass(frozen=True)
class Windows:
    """Runs of equally many operators, of which one body can take the place.

    Attributes:
        starts: Places of their first operators in the line.
        length: Number of operators of each.
    """

    starts: tuple[int, ...]
    length: int

    def columns(self) -> list[tuple[int, ...]]:
        """The places of the operators that are to become one, in order."""
        return [
            tuple(start + offset for start in self.starts)
            for offset in range(self.length)
        ]


def find_windows(line: Line) -> list[Windows]:
    """Finds the runs of operators that repeat around kernels with several uses.

    Every kernel with several equal uses is in one body, with all of these uses: a run
    starts as one of these operators and grows to both sides while all repetitions
    agree and no kernel comes in that has other uses as well. So a cyclic pattern gives
    one body of a whole cycle, and an irregular one a body per group.

    Args:
        line: The operators of the model.

    Returns:
        Disjoint runs, in order of their first operators.
    """
    uses: dict[Hashable, list[int]] = defaultdict(list)
    for place, operation in line.packing():
        if operation.key is not None:
            uses[_use_key(operation)].append(place)
    search = _Search(line, {key: tuple(places) for key, places in uses.items()})
    found = [
        search.grow(places)
        for places in search.uses.values()
        if len(places) > 1 and not search.taken[places[0]]
    ]
    return sorted(found, key=lambda windows: windows.starts)


def _use_key(operation: Operation) -> Hashable:
    """Equal for uses of a kernel for which one operator can stand."""
    return operation.kernel, operation.key


class _Search:
    def __init__(self, line: Line, uses: dict[Hashable, tuple[int, ...]]):
        self.line = line
        self.uses = uses
        self.taken = [False] * len(line.operations)
        self.live = _live_bytes(line)
        self.of_shapes = _of_shapes(line)

    def grow(self, places: tuple[int, ...]) -> Windows:
        reach = _FIRST_REACH
        left, right = self._fit(places, reach)
        # Far only where it is of use: the time grows with the operators taken.
        while left + right + 1 >= reach and reach < _gap(places):
            reach *= 4
            left, right = self._fit(places, reach)
        windows = Windows(tuple(p - left for p in places), left + right + 1)
        for start in windows.starts:
            self.taken[start : start + windows.length] = [True] * windows.length
        return windows

    def _fit(self, places: tuple[int, ...], reach: int) -> tuple[int, int]:
        """How many operators to both sides of some uses one body can stand for."""
        left, right = (self._reach(places, side, reach) for side in (-1, 1))
        gap = _gap(places)
        if left + right >= gap:
            # Adjacent repetitions may be cut anywhere: where the least goes across.
            left = min(
                range(max(0, gap - 1 - right), min(left, gap - 1) + 1),
                key=lambda n: (sum(self.live[p - n] for p in places), -n),
            )
            right = gap - 1 - left
        return self._consistent(places, left, right)

    def _reach(self, places: tuple[int, ...], direction: int, most: int) -> int:
        """How many operators to one side agree in all repetitions."""
        gap = min(_gap(places), most)
        end = len(self.line.operations)
        for distance in range(1, gap):
            column = [p + direction * distance for p in places]
            if column[0] < 0 or column[-1] >= end or not self._agree(column):
                return distance - 1
        return gap - 1

    def _agree(self, column: list[int]) -> bool:
        first = self.line.operations[column[0]]
        if first is None or first.key is None:
            return False
        for place in column:
            operation = self.line.operations[place]
            if operation is None or operation.key != first.key or self.taken[place]:
                return False
        if first.kernel is None:
            return True
        # All uses of a kernel, or none.
        return self.uses[_use_key(first)] == tuple(column)

    def _consistent(
        self, places: tuple[int, ...], left: int, right: int
    ) -> tuple[int, int]:
        """Shortens the runs until each input comes from the same place in all."""
        offset = -left
        while offset <= right:
            inner = self._conflict(places, left, offset)
            if inner is None:
                offset += 1
            elif offset > 0:
                right = offset - 1
            else:
                left = -offset - 1 if offset < 0 else -inner - 1
                offset = -left
        leaving = self._leaving(places, left, right)
        if leaving is None:
            return left, right
        if leaving > 0:
            return self._consistent(places, left, leaving - 1)
        return self._consistent(places, -leaving - 1, right)

    def _leaving(self, places: tuple[int, ...], left: int, right: int) -> int | None:
        """The nearest operator inside whose sizes something outside asks for.

        LiteRT computes sizes when it plans its memory, before a subgraph is called, and
        takes a call for an operator whose outputs are not known then.
        """
        inside = sorted(self.of_shapes & {*range(places[0] - left, places[0])})[::-1]
        inside += sorted(
            self.of_shapes & {*range(places[0] + 1, places[0] + right + 1)}
        )
        for offset in (first - places[0] for first in inside):
            for place in places:
                operation = self.line.operations[place + offset]
                assert operation is not None  # None stands at no place that was grown
                for tensor in map(int, operation.op.outputs):
                    key = operation.graph, tensor
                    asking = self.line.consumers.get(key, ())
                    if key in self.line.kept or not all(
                        place - left <= p <= place + right for p in asking
                    ):
                        return offset
        return None

    def _conflict(self, places: tuple[int, ...], left: int, offset: int) -> int | None:
        """The nearest producer of an input that only some repetitions have inside."""
        sources = []
        for place in places:
            operation = self.line.operation(place + offset)
            inside: list[tuple[int, int] | tuple[None, None]] = []
            for operand in operation.operands:
                made = self.line.producer.get((operation.graph, operand.tensor))
                if made is None or made < place - left:
                    inside.append((None, None))
                else:
                    outputs = list(self.line.operation(made).op.outputs)
                    inside.append((made - place, outputs.index(operand.tensor)))
            sources.append(inside)
        for column in zip(*sources, strict=True):
            if len(set(column)) > 1:
                return max(made for made, _ in column if made is not None)
        return None


def _of_shapes(line: Line) -> set[int]:
    """The places of operators whose outputs follow from the shapes of tensors."""
    found: set[int] = set()
    for place, operation in enumerate(line.operations):
        if operation is None:
            continue
        made = [
            line.producer.get((operation.graph, operand.tensor))
            for operand in operation.operands
            if operand.constant is None and operand.tensor >= 0
        ]
        if operation.name in SIZES or (made and found.issuperset(made)):
            found.add(place)
    return found


def _gap(places: tuple[int, ...]) -> int:
    return min(b - a for a, b in itertools.pairwise(places))


def _live_bytes(line: Line) -> list[int]:
    """Bytes of activations that are needed across the place before each operator."""
    change = [0] * (len(line.operations) + 1)
    for key, made in line.producer.items():
        graph, tensor = key
        last = max(line.consumers.get(key, [made]))
        if last > made:
            size = nbytes(line.model.subgraphs[graph].tensors[tensor])
            change[made + 1] += size
            change[last + 1] -= size
    return list(itertools.accumulate(change))
