"""Masks of large negative numbers among scores, as integers can have them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.flatten import flatten
from keras_share.flat.tensors import corresponding, new_input, replaced, tensors
from keras_share.quantize.attention_rules import masked_softmax
from keras_share.quantize.placement import LARGE
from keras_share.quantize.rules import operation_name

_SEEN = 1.0  # in magnitude, of what is added where nothing is masked
_MOVES = ("broadcast_to", "expand_dims", "get_item", "reshape", "squeeze", "transpose")
_VALUES: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "cast": lambda x: np.asarray(x, "float64"),
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "multiply": np.multiply,
    "negative": np.negative,
    "subtract": np.subtract,
    "true_divide": np.divide,
    "where": np.where,
}
# A tensor, and what it is that tells which places are seen.
_CHOICES = (ops.copy, ops.logical_not)  # where the first is chosen, or the second
Mask = tuple[keras.KerasTensor, Callable[[Any], Any]]


def with_added_masks(graph: FlatGraph) -> FlatGraph:
    """A graph in which softmaxes have masks of truths.

    As in `softmax(scores + (1 - mask) * -1e9)` or `softmax(where(mask, scores, -1e9))`:
    beside such numbers no step of a range tells scores apart. What is added, alone or
    to other numbers, must be one of two numbers, by a truth or an integer, or a
    constant array.
    """
    changed: dict[Step, list[Step]] = {}
    for step in graph:
        if step.body is not None:
            changed[step] = [replace(step, body=with_added_masks(step.body))]
        elif operation_name(step.op) == "softmax" and _is_last(step):
            numbers: list[Any] = []
            masks: list[Mask | np.ndarray] = []
            _take_apart(graph, step.args[0], numbers, masks)
            if masks and any(isinstance(x, keras.KerasTensor) for x in numbers):
                changed[step] = list(_masked(step, numbers, masks))
    steps = [new for step in graph for new in changed.get(step, [step])]
    return (
        replace(graph, steps=tuple(steps)).without_unread(graph) if changed else graph
    )


def _is_last(step: Step) -> bool:
    return step.op.axis in (-1, len(step.output.shape) - 1)


def _take_apart(
    graph: FlatGraph, x: Any, numbers: list, masks: list[Mask | np.ndarray]
) -> None:
    """Collects the numbers that are added up, and the masks among them."""
    mask = _mask(graph, x)
    if mask is not None:
        masks.append(mask)
        return
    step = graph.producer(x) if isinstance(x, keras.KerasTensor) else None
    name = "" if step is None else operation_name(step.op)
    read = [] if step is None else step.inputs
    casts = name == "cast" and all("float" in part.dtype for part in read)
    if step is not None and (name == "add" or casts):
        for part in read if casts else step.args:
            _take_apart(graph, part, numbers, masks)
        return
    if step is not None and name == "where":
        truth, *choices = step.args
        for chosen, other, of in zip(choices, choices[::-1], _CHOICES, strict=True):
            if not isinstance(other, keras.KerasTensor) and np.all(other <= -LARGE):
                tensor = isinstance(truth, keras.KerasTensor)
                masks.append((truth, of) if tensor else np.asarray(of(truth)))
                _take_apart(graph, chosen, numbers, masks)
                return
    numbers.append(x)


def _mask(graph: FlatGraph, x: Any) -> Mask | np.ndarray | None:
    """What tells which places are seen, of numbers that are large where none are."""
    if not isinstance(x, keras.KerasTensor):
        values = np.asarray(ops.convert_to_numpy(x))
        small = np.abs(values) < _SEEN
        masked = (values <= -LARGE).any() and (small | (values <= -LARGE)).all()
        return small if masked else None
    steps: list[Step] = []
    source = x
    while "float" in source.dtype:
        step = graph.producer(source)
        given = [] if step is None else step.inputs
        if step is None or len(given) != 1:
            return None
        steps.insert(0, step)
        [source] = given
    values = np.array([0, 1])
    moves = []
    for step in steps:
        name = operation_name(step.op)
        if name in _MOVES:
            moves.append(step)
            continue
        args = step.args[:1] if name == "cast" else step.args
        given = [values if isinstance(a, keras.KerasTensor) else a for a in args]
        if name not in _VALUES or any(np.size(a) > 2 for a in given) or step.kwargs:
            return None
        values = _VALUES[name](*given)
    if not steps or np.shape(values) != (2,) or not np.isfinite(values).all():
        return None
    masked = values <= -LARGE
    if masked.sum() != 1 or abs(values[~masked][0]) >= _SEEN:
        return None

    def seen(truth: Any) -> Any:
        for step in moves:
            args = [truth if isinstance(a, keras.KerasTensor) else a for a in step.args]
            truth = step.op(*args, **step.kwargs)
        return ops.equal(truth, 0) if masked[1] else ops.not_equal(truth, 0)

    return source, seen


def _masked(step: Step, numbers: list, masks: list) -> Iterator[Step]:
    """The steps of a softmax of numbers, with masks."""
    sources = [x for x, _ in (m for m in masks if isinstance(m, tuple))]
    given = list(dict.fromkeys([*tensors(numbers), *sources]))
    inputs = [new_input(x.shape, x.dtype) for x in given]
    env = dict(zip(given, inputs, strict=True))
    total, *others = replaced(numbers, env)
    for other in others:
        total = total + other
    mask: Any = None
    for part in masks:
        seen = part[1](env[part[0]]) if isinstance(part, tuple) else part
        mask = seen if mask is None else ops.logical_and(mask, seen)
    inner = flatten(keras.Model(inputs, masked_softmax(total, mask)))
    back = dict(corresponding(inner.inputs, given))
    back[inner.outputs] = step.output
    for part in inner:
        yield replace(
            part,
            name=f"{step.name}.{part.name}",
            args=replaced(part.args, back),
            kwargs=replaced(part.kwargs, back),
            outputs=replaced(part.outputs, back),
            within=step.within,
        )
