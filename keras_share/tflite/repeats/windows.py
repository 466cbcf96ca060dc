"""Finding runs of operators that repeat around tied kernels."""

import itertools
from collections.abc import Hashable
from dataclasses import dataclass

from keras_share.tflite.file.stored import nbytes
from keras_share.tflite.repeats.line import Step, Steps

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


def find_windows(steps: Steps) -> list[Windows]:
    """Finds the runs of operators that repeat around kernels with several uses.

    Every kernel with several equal uses is in one body, with all of these uses: a run
    starts as one of these operators and grows to both sides while all repetitions
    agree and no kernel comes in that has other uses as well. So a cyclic pattern gives
    one body of a whole cycle, and an irregular one a body per group.

    Args:
        steps: The operators of the model.

    Returns:
        Disjoint runs, in order of their first operators.
    """
    uses: dict[Hashable, list[int]] = {}
    for place, step in enumerate(steps.line):
        if step is not None and step.kernel is not None and step.key is not None:
            uses.setdefault(use_key(step), []).append(place)
    search = _Search(steps, {key: tuple(places) for key, places in uses.items()})
    found = [
        search.grow(places)
        for places in search.uses.values()
        if len(places) > 1 and not search.taken[places[0]]
    ]
    return sorted(found, key=lambda windows: windows.starts)


def use_key(step: Step) -> Hashable:
    """Equal for uses of a kernel for which one operator can stand."""
    return step.kernel, step.key


class _Search:
    def __init__(self, steps: Steps, uses: dict[Hashable, tuple[int, ...]]):
        self.steps = steps
        self.uses = uses
        self.taken = [False] * len(steps.line)
        self.live = _live_bytes(steps)

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
        end = len(self.steps.line)
        for distance in range(1, gap):
            column = [p + direction * distance for p in places]
            if column[0] < 0 or column[-1] >= end or not self._agree(column):
                return distance - 1
        return gap - 1

    def _agree(self, column: list[int]) -> bool:
        first = self.steps.line[column[0]]
        if first is None or first.key is None:
            return False
        for place in column:
            step = self.steps.line[place]
            if step is None or step.key != first.key or self.taken[place]:
                return False
        if first.kernel is None:
            return True
        # All uses of a kernel, or none.
        return self.uses[use_key(first)] == tuple(column)

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
        return left, right

    def _conflict(self, places: tuple[int, ...], left: int, offset: int) -> int | None:
        """The nearest producer of an input that only some repetitions have inside."""
        sources = []
        for place in places:
            step = self.steps.line[place + offset]
            inside = []
            for operand in step.operands:
                made = self.steps.producer.get((step.graph, operand.tensor))
                within = made is not None and made >= place - left
                output = (
                    list(self.steps.line[made].op.outputs).index(operand.tensor)
                    if within
                    else None
                )
                inside.append((made - place if within else None, output))
            sources.append(inside)
        for column in zip(*sources, strict=True):
            if len(set(column)) > 1:
                return max(made for made, _ in column if made is not None)
        return None


def _gap(places: tuple[int, ...]) -> int:
    return min(b - a for a, b in itertools.pairwise(places))


def _live_bytes(steps: Steps) -> list[int]:
    """Bytes of activations that are needed across the place before each operator."""
    change = [0] * (len(steps.line) + 1)
    for key, made in steps.producer.items():
        graph, tensor = key
        last = max(steps.consumers.get(key, [made]))
        if last > made:
            size = nbytes(steps.model.subgraphs[graph].tensors[tensor])
            change[made + 1] += size
            change[last + 1] -= size
    live, total = [], 0
    for difference in change:
        total += difference
        live.append(total)
    return live
