"""Masks of large numbers among others, as integers can have them."""

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
from keras_share.quantize.large_numbers import LARGE
from keras_share.quantize.rules import operation_name

_LEAST = ("min", "argmin")
_EXTREMES = ("max", "argmax", *_LEAST)
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
    """A graph in which softmaxes, maxima and minima have masks of truths.

    As in `softmax(scores + (1 - mask) * -1e9)` or `max(where(mask, x, -1e9), axis=1)`:
    beside such numbers no step of a range tells others apart. What is added, alone or
    to other numbers, must be one of two numbers, by a truth or an integer, or a
    constant array. A maximum of what is masked throughout is any number then.
    """
    changed: dict[Step, list[Step]] = {}
    for step in graph:
        if step.body is not None:
            changed[step] = [replace(step, body=with_added_masks(step.body))]
            continue
        name = operation_name(step.op)
        if name in _EXTREMES or (name == "softmax" and _is_last(step)):
            numbers: list[Any] = []
            masks: list[Mask | np.ndarray] = []
            sign = -1 if name in _LEAST else 1
            _take_apart(graph, step.args[0], sign, numbers, masks)
            if masks and any(isinstance(x, keras.KerasTensor) for x in numbers):
                changed[step] = list(_masked(step, numbers, masks))
    steps = [new for step in graph for new in changed.get(step, [step])]
    return (
        replace(graph, steps=tuple(steps)).without_unread(graph) if changed else graph
    )


def _is_last(step: Step) -> bool:
    return step.op.axis in (-1, len(step.output.shape) - 1)


def _take_apart(
    graph: FlatGraph,
    x: Any,
    sign: int,
    numbers: list,
    masks: list[Mask | np.ndarray],
) -> None:
    """Collects the numbers that are added up, and the masks among them.

    Those are large and negative, times the sign.
    """
    mask = _mask(graph, x, sign)
    if mask is not None:
        masks.append(mask)
        return
    step = graph.producer(x) if isinstance(x, keras.KerasTensor) else None
    name = "" if step is None else operation_name(step.op)
    read = [] if step is None else step.inputs
    casts = name == "cast" and all("float" in part.dtype for part in read)
    if step is not None and (name == "add" or casts):
        for part in read if casts else step.args:
            _take_apart(graph, part, sign, numbers, masks)
        return
    if step is not None and name == "subtract":
        mask = _mask(graph, step.args[1], -sign)
        if mask is not None:
            masks.append(mask)
            _take_apart(graph, step.args[0], sign, numbers, masks)
            return
    if step is not None and name == "where":
        truth, *choices = step.args
        for chosen, other, of in zip(choices, choices[::-1], _CHOICES, strict=True):
            known = not isinstance(other, keras.KerasTensor)
            if known and np.all(sign * np.asarray(other) <= -LARGE):
                tensor = isinstance(truth, keras.KerasTensor)
                masks.append((truth, of) if tensor else np.asarray(of(truth)))
                _take_apart(graph, chosen, sign, numbers, masks)
                return
    numbers.append(x)


def _mask(graph: FlatGraph, x: Any, sign: int) -> Mask | np.ndarray | None:
    """What tells which places are seen, of numbers that are large where none are."""
    if not isinstance(x, keras.KerasTensor):
        values = sign * np.asarray(ops.convert_to_numpy(x))
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
    masked = sign * values <= -LARGE
    if masked.sum() != 1 or abs(values[~masked][0]) >= _SEEN:
        return None

    def seen(truth: Any) -> Any:
        for step in moves:
            args = [truth if isinstance(a, keras.KerasTensor) else a for a in step.args]
            truth = step.op(*args, **step.kwargs)
        return ops.equal(truth, 0) if masked[1] else ops.not_equal(truth, 0)

    return source, seen


def _masked(step: Step, numbers: list, masks: list) -> Iterator[Step]:
    """The steps of a softmax or an extreme of numbers, with masks."""
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
    name = operation_name(step.op)
    if name == "softmax":
        result = masked_softmax(total, mask)
    else:
        # What is never the largest, where anything is seen.
        unseen = (ops.max if name in _LEAST else ops.min)(total, keepdims=True)
        result = step.op(ops.where(ops.cast(mask, "bool"), total, unseen))
    inner = flatten(keras.Model(inputs, result))
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
