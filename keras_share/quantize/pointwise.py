"""What TFLite has no integer operator for, but computes each number alone: look-ups."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import tree

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.folding import is_identity
from keras_share.flat.tensors import new_input, replaced
from keras_share.layers.copying import copy_or_keep
from keras_share.layers.sublayers import sublayers
from keras_share.layers.substitute import accepts_training
from keras_share.quantize.look_up import LookUp
from keras_share.quantize.placement import MAGNIFIES, Placement, is_clip, place_alone
from keras_share.quantize.rules import find_rule, operation_name
from keras_share.quantize.selection import SKIPPED
from keras_share.quantize.signs import is_never_negative

# Numbers as activations have them, and 256 steps of such a range.
_GRID = np.linspace(0.0, 8.0, 257, dtype="float32")
# Where one step makes so much of all the results, rounding leaves little of a root.
_STEEPEST = 0.15


def with_look_ups(
    graph: FlatGraph,
    placements: dict[Step, Placement],
    excluded: Collection[keras.KerasTensor] = (),
) -> FlatGraph:
    """A graph in which steps that would stay in floating point are looked up.

    Such a step, if it computes each number of its output from the one in the same
    place, becomes a `LookUp`, together with those around it that do the same to the
    same tensor: they are rounded once, and what is not rounded between them can't be
    too coarse for a logarithm. What isn't finite everywhere stays as it is.

    Args:
        graph: A graph.
        placements: What would be done with its steps, and those of loops.
        excluded: Tensors that are to be computed as they were.
    """
    bodies = {
        step: replace(step, body=with_look_ups(step.body, placements, excluded))
        for step in graph
        if step.body is not None
    }
    finder = _Finder(graph, placements, excluded)
    sinks = finder.sinks()
    if not sinks and not bodies:
        return graph
    changed = {**bodies, **{step: _looked_up(finder, step) for step in sinks}}
    steps = [changed.get(step, step) for step in graph]
    return replace(graph, steps=tuple(steps)).without_unread(graph)


def _looked_up(finder: "_Finder", step: Step) -> Step:
    root, parts = finder.cone(step.output)
    within = step.within
    if isinstance(step.op, keras.Layer):
        within = (*within, (step.op, 0))
    return replace(
        step,
        name=f"{step.name}.look_up",  # which no operation has
        op=LookUp(_model(root, parts, step.output)),
        args=(root,),
        kwargs={},
        within=within,
        reason=None,
    )


def _model(
    root: keras.KerasTensor, steps: list[Step], output: keras.KerasTensor
) -> keras.Model:
    """A model of steps, for tensors of any shape of this rank."""
    x = _any_shape(root, "float32")
    values = {root: x}
    for step in steps:
        op = step.op
        if isinstance(op, keras.Layer):
            op = copy_or_keep(op, dtype="float32")
        values[step.output] = _call(op, step, values)
    return keras.Model(x, values[output])


def _call(op: keras.Operation, step: Step, values: dict) -> Any:
    args, kwargs = replaced((step.args, dict(step.kwargs)), values)
    return op(*args, **kwargs)


class _Finder:
    """Which tensors of a graph are functions of each number of another one."""

    def __init__(
        self,
        graph: FlatGraph,
        placements: dict[Step, Placement],
        excluded: Collection[keras.KerasTensor],
    ):
        self.excluded = excluded
        self.graph = graph
        self.placements = placements
        self._alone: dict[Step, bool] = {}
        self._cones: dict[keras.KerasTensor, tuple[keras.KerasTensor, list[Step]]] = {}
        self._looked_up: set[keras.KerasTensor] = set()

    def sinks(self) -> set[Step]:
        """The steps that are to be look-ups: other steps read their results."""
        for step in self.graph:
            wanted = self._is_left(step) or self._looked_up.intersection(step.inputs)
            if wanted and self._is_alone(step) and self._is_tame(step):
                self._looked_up.add(step.output)
        return {
            step
            for step in self.graph
            if self._looked_up.intersection(tree.flatten(step.outputs))
            and self._is_read_by_others(step.output)
        }

    def cone(self, tensor: keras.KerasTensor) -> tuple[keras.KerasTensor, list[Step]]:
        """The tensor that another is a function of, and the steps between them."""
        if tensor not in self._cones:
            self._cones[tensor] = self._find_cone(tensor)
        return self._cones[tensor]

    def _find_cone(
        self, tensor: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, list[Step]]:
        step = self.graph.producer(tensor)
        if step is None or not self._is_alone(step) or self._is_fused(step):
            return tensor, []
        parts = [self.cone(x) for x in dict.fromkeys(step.inputs)]
        roots = {root for root, _ in parts}
        if len(roots) > 1:
            return tensor, []
        steps = dict.fromkeys(s for _, part in parts for s in part)
        return roots.pop(), [*steps, step]

    def _is_left(self, step: Step) -> bool:
        """Whether a step has no integers by itself, not for what reads it."""
        return (
            self.placements[step].is_float
            and self.placements[step].reason != SKIPPED
            and place_alone(self.graph, step).is_float
        )

    def _is_read_by_others(self, tensor: keras.KerasTensor) -> bool:
        readers = self.graph.consumers(tensor)
        return self.graph.is_output(tensor) or not all(
            self._looked_up.intersection(tree.flatten(step.outputs)) for step in readers
        )

    def _is_fused(self, step: Step) -> bool:
        """Whether a step is part of the operator before it, which rounds behind it."""
        return is_clip(step) and not self._looked_up.intersection(step.inputs)

    def _is_alone(self, step: Step) -> bool:
        """Whether a step computes each number of its output from those in its place."""
        if step not in self._alone:
            self._alone[step] = self._can_be_alone(step) and _is_local(step)
        return self._alone[step]

    def _can_be_alone(self, step: Step) -> bool:
        outputs = tree.flatten(step.outputs)
        if len(outputs) != 1 or not step.inputs or step.body is not None:
            return False
        if any(x.shape != outputs[0].shape for x in step.inputs):
            return False
        op, rule = step.op, find_rule(step.op)
        if self.placements[step].reason == SKIPPED or (rule and rule.refuse(op)):
            return False
        if not isinstance(op, keras.Layer):
            return True
        free = not op.variables and len(list(sublayers(op))) == 1
        trains = accepts_training(op) and not isinstance(op, keras.layers.Lambda)
        return free and not trains and not is_identity(op, step.args, step.kwargs)

    def _is_tame(self, step: Step) -> bool:
        """Whether the function that makes a step's output is one that integers have."""
        root, steps = self.cone(step.output)
        given = "float" in root.dtype and "float" in step.output.dtype
        if not steps or not given or step.output in self.excluded:
            return False
        if not any(map(self.graph.changing_inputs, steps)):  # of weights alone
            return False
        x = _GRID if is_never_negative(self.graph, root) else _GRID * 2 - _GRID[-1]
        values = {root: x.reshape(-1, *(1,) * (len(root.shape) - 1))}
        for part in steps:
            values[part.output] = _call(part.op, part, values)
        y = keras.ops.convert_to_numpy(values[step.output]).astype("float64").ravel()
        if not np.isfinite(y).all():
            return False
        names = {operation_name(part.op) for part in steps}
        if not names.intersection(MAGNIFIES):
            return True
        return bool(np.abs(np.diff(y)).max() <= _STEEPEST * np.ptp(y))


def _is_local(step: Step) -> bool:
    """Tries whether a step computes each number from those in its place alone.

    Where other numbers stand elsewhere, a number must stay what it is; where all are
    moved, move with them; and in a column, as tables are made of, be the same: a
    reshaping or an array among the arguments may fit the shape of the model alone.
    """
    rng = np.random.default_rng(0)
    inputs = list(dict.fromkeys(step.inputs))
    shape = [2, *(3 if size is None else size for size in inputs[0].shape[1:])]
    changed = rng.random(shape) < 0.5

    def run(arrays: list[np.ndarray]) -> np.ndarray:
        given = dict(zip(inputs, map(keras.ops.convert_to_tensor, arrays), strict=True))
        return keras.ops.convert_to_numpy(_call(step.op, step, given))

    def drawn() -> list[np.ndarray]:
        numbers = [rng.normal(size=shape) * 3 for _ in inputs]
        return [n.astype(x.dtype) for n, x in zip(numbers, inputs, strict=True)]

    def moved(x: np.ndarray) -> np.ndarray:
        return np.roll(x.ravel(), 1).reshape(x.shape)

    def column(x: np.ndarray) -> np.ndarray:
        return x.reshape(-1, *(1 for _ in shape[1:]))

    first = drawn()
    others = [
        np.where(changed, new, old) for new, old in zip(drawn(), first, strict=True)
    ]
    try:
        args, kwargs = replaced(
            (step.args, dict(step.kwargs)), {x: _any_shape(x) for x in inputs}
        )
        step.op.compute_output_spec(*args, **kwargs)  # a call would become a use
        y, y_others, y_moved = run(first), run(others), run([moved(x) for x in first])
        y_column = run([column(x) for x in first])
    except Exception:  # whatever code of others raises: it can't be tried
        return False
    if y.shape != first[0].shape or y_column.shape != column(y).shape:
        return False
    return (
        _same(np.where(changed, y, y_others), y)
        and _same(y_moved, moved(y))
        and _same(y_column, column(y))
    )


def _any_shape(x: keras.KerasTensor, dtype: str | None = None) -> keras.KerasTensor:
    return new_input((None,) * len(x.shape), dtype or x.dtype)


def _same(x: np.ndarray, y: np.ndarray) -> bool:
    return bool(np.allclose(x, y, rtol=1e-5, atol=1e-6, equal_nan=True))
