"""What is done with each step of a graph, decided before building."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.folding import (
    KERNEL_LAYERS,
    folds,
    is_identity,
    is_linear,
    on_last_axis,
    scale_would_fold,
)
from keras_share.layers.relax.affine import Affine
from keras_share.quantize.large_numbers import MASKED, is_masked, reads_large
from keras_share.quantize.rules import ORDERS, QuantizeRule, find_rule, operation_name
from keras_share.quantize.signs import is_never_negative
from keras_share.quantize.weight_rules import FUSED_ACTIVATIONS

# What makes a small error of a small number a large one.
MAGNIFIES = (
    *("divide", "log", "log10", "log1p", "log2", "power", "reciprocal", "rsqrt"),
    *("sqrt", "true_divide"),
)
# Whose results are places, found with numbers in between.
_SORTS = ("argpartition", "argsort")
_NOT_READ = "nothing that is computed in integers reads it"
_MOST_SHARES = 256  # the integers of a softmax are so many in 1
_REDUCES = ("mean", "sum")
# Whose output holds values of each input, of which some may be constants.
OF_SEVERAL = ("concatenate", "maximum", "minimum", "stack", "where")
_FUSING = (
    *(*KERNEL_LAYERS, Affine),
    *(keras.layers.BatchNormalization, keras.layers.Rescaling),
)
# Layers of the operator FULLY_CONNECTED.
_PRODUCTS = (keras.layers.Dense, keras.layers.EinsumDense)


@dataclass(frozen=True)
class Placement:
    """What is done with one step.

    Attributes:
        output: What range its output has: `"own"`, `"input"` (that of its inputs),
            `"weights"`, a pair of numbers (fixed by TFLite), `"next"` (none: the only
            step that reads it is computed as part of it), or `"none"` (it computes no
            numbers).
        rule: The rule that says so, if it is one for the layer or operation.
        reason: Why the step stays in floating point, else empty.
    """

    output: str | tuple[float, float] = "none"
    rule: QuantizeRule = field(default_factory=QuantizeRule)
    reason: str = ""

    @property
    def is_float(self) -> bool:
        """Whether the step stays in floating point."""
        return bool(self.reason)


def place(graph: FlatGraph, selection: Any = None) -> dict[Step, Placement]:
    """Decides for each step of a graph, in order.

    Args:
        graph: A graph whose layers were opened by their rules.
        selection: Returns why a step is left in floating point by request, or None.
    """
    placements: dict[Step, Placement] = {}
    for step in graph:
        if step.body is not None:
            placements.update(place(step.body, selection))
        reason = selection(step) if selection else None
        placement = Placement(reason=reason) if reason else place_alone(graph, step)
        if placement.rule.weights and any(map(graph.is_used_transposed, step.weights)):
            # The same integers in both directions.
            rule = replace(placement.rule, channels=(), min_bits=8)
            placement = replace(placement, rule=rule)
        placements[step] = placement
    _keep_precise(graph, placements)
    look_ups: dict[int, list[Step]] = defaultdict(list)
    for step in graph:
        if placements[step].output == "weights":
            look_ups[id(step.weights[0])].append(step)
    for steps in look_ups.values():
        readers = [x for step in steps for x in graph.consumers(step.output)]
        if all(placements[reader].is_float for reader in readers):
            # Of the rows alone the converter makes no integers.
            placements.update(dict.fromkeys(steps, Placement(reason=_NOT_READ)))
    for step in graph:
        if placements[step].output == "next":
            [reader] = graph.consumers(step.output)
            if placements[reader].is_float:
                placements[step] = replace(placements[step], output="own")
    return placements


def _keep_precise(graph: FlatGraph, placements: dict[Step, Placement]) -> None:
    """Leaves what is read by divisions and logarithms only in floating point, too.

    A count of one is no step of a range that holds hundreds: rounded, it is zero. What
    is summed up for a division is so from the sum on.
    """
    pulls: dict[Step, str] = {}
    masked: set[Step] = set()
    for step in reversed(graph.steps):
        name = operation_name(step.op)
        if reads_large(graph, step):
            if not placements[step].is_float:
                placements[step] = Placement(reason=MASKED)
            pulls[step] = step.name
            masked.add(step)
        if placements[step].is_float:
            if name in MAGNIFIES:
                pulls[step] = step.name
            continue
        outputs = keras.tree.flatten(step.outputs)
        readers = [reader for x in outputs for reader in graph.consumers(x)]
        if (
            not readers
            or not all(reader in pulls for reader in readers)
            or any(graph.is_output(x) or "float" not in x.dtype for x in outputs)
            or step.weights
            or step.body is not None
            or any(_is_before(graph, placements, x) for x in step.inputs)
        ):
            continue
        root = pulls[readers[0]]
        if masked.intersection(readers):
            if not any(is_masked(graph, x) for x in outputs):
                continue
            reason = MASKED
            masked.add(step)
        else:
            reason = f"'{root}' reads it, for which integers are too coarse near zero"
        placements[step] = Placement(reason=reason)
        if name not in _REDUCES:
            pulls[step] = root


def _is_before(
    graph: FlatGraph, placements: dict[Step, Placement], tensor: keras.KerasTensor
) -> bool:
    """Whether a tensor is that of an operator which its reader is part of."""
    producer = graph.producer(tensor)
    return producer is not None and placements[producer].output == "next"


def is_clip(step: Step) -> bool:
    """Whether a step is an activation function that operators can have fused."""
    return operation_name(step.op) in FUSED_ACTIVATIONS


def taken_apart(graph: FlatGraph, step: Step, wide: bool) -> list[keras.KerasTensor]:
    """The inputs of a step from which the converter computes it in a way of its own.

    Of a PReLU it takes the ReLU that is computed anyhow. An activation function of a
    product it computes with a product of its own, which is not rounded between. In 16
    bits it fails to add to a product behind what moved it.
    """
    producer = graph.producer(step.inputs[0]) if step.inputs else None
    after_product = producer is not None and isinstance(producer.op, _PRODUCTS)
    if isinstance(step.op, keras.layers.PReLU) or (is_clip(step) and after_product):
        return step.inputs
    if wide and operation_name(step.op) in ("add", "subtract"):
        return [x for x in step.inputs if _unmoved(graph, x) is not x]
    return []


def takes_one_tensor_twice(graph: FlatGraph, step: Step) -> bool:
    """Whether a step adds or multiplies what may be one tensor, moved.

    The converter turns such a step and a reshape before it around, and then fails
    because their ranges differ.
    """
    sums = ("add", "multiply", "subtract")
    if operation_name(step.op) not in sums or len(step.inputs) != 2:
        return False
    first, second = (_unmoved(graph, x) for x in step.inputs)
    producer = graph.producer(first)
    if first is not second or producer is None:
        return False
    return operation_name(producer.op) not in sums


def _unmoved(graph: FlatGraph, tensor: keras.KerasTensor) -> keras.KerasTensor:
    """The tensor whose values another has in another order."""
    producer = graph.producer(tensor)
    while producer is not None and operation_name(producer.op) in ORDERS:
        [tensor] = producer.inputs
        producer = graph.producer(tensor)
    return tensor


def only_moves(step: Step) -> bool:
    """Whether each value of a step's output is one of its inputs."""
    if getattr(step.op, "interpolation", "nearest") != "nearest":
        return False
    if isinstance(step.op, keras.Layer):
        return True
    return operation_name(step.op) != "average_pool" and not constants(step)


def constants(step: Step) -> list[Any]:
    """The numbers but zero that an output has beside values of a step's inputs."""
    name = operation_name(step.op)
    given: list[Any] = []
    if name in OF_SEVERAL:
        given = keras.tree.flatten(step.args)
    elif name == "pad":
        given = [*step.args[1:], *step.kwargs.values()]
    return [x for x in given if not isinstance(x, keras.KerasTensor) and np.any(x)]


def place_alone(graph: FlatGraph, step: Step) -> Placement:
    """What is done with a step, whatever is with those around it."""
    op = step.op
    if step.body is not None:
        return Placement("own")
    outputs = keras.tree.flatten(step.outputs)
    if not any("float" in x.dtype for x in outputs):
        sorts = operation_name(op) in _SORTS
        unknown = f"there is no rule for {type(op).__name__}" if sorts else ""
        return Placement(reason=step.reason or unknown)
    if is_identity(op, step.args, step.kwargs) or _is_float_cast(step):
        return Placement("input")
    if isinstance(op, keras.layers.BatchNormalization):
        return _place_normalization(graph, step)
    if isinstance(op, Affine):
        return _place_affine(graph, step)
    rule = find_rule(op)
    reason = step.reason or (rule and rule.refuse(op))
    if reason:
        return Placement(reason=reason)
    if rule is None or rule.write is not None:
        return Placement(reason=f"there is no rule for {type(op).__name__}")
    if operation_name(step.op) == "softmax" and _shares(step) > _MOST_SHARES:
        return Placement(reason=f"it is over more than {_MOST_SHARES} places")
    if operation_name(step.op) == "rsqrt" and not is_never_negative(
        graph, step.args[0]
    ):
        return Placement(reason="its input may be negative, which ends a file's run")
    if rule.output == "own" and is_linear(op) and _is_fused_next(graph, step):
        return Placement("next", rule)
    return Placement(rule.output, rule)


def _shares(step: Step) -> int:
    """Over how many places a softmax is; 0 if that is not known."""
    axis = step.op.axis
    return (step.output.shape[axis] or 0) if isinstance(axis, int) else 0


def _is_float_cast(step: Step) -> bool:
    """Whether a step turns numbers into numbers of another precision."""
    floats = all("float" in x.dtype for x in step.inputs)
    return operation_name(step.op) == "cast" and floats


def _place_normalization(graph: FlatGraph, step: Step) -> Placement:
    if not on_last_axis(step):
        return Placement(reason="its axis is not the last one")
    if folds(graph, step):
        return Placement("next" if _is_fused_next(graph, step) else "own")
    return _place_affine(graph, step)


def _place_affine(graph: FlatGraph, step: Step) -> Placement:
    if not scale_would_fold(graph, step):
        return Placement(reason="the shape of its input is not known")
    # Exported as a convolution over an image; a tensor of another rank is reshaped
    # around it, and nothing is fused across that.
    fused = _is_fused_next(graph, step) and len(step.output.shape) == 4
    return Placement("next" if fused else "own")


def _is_fused_next(graph: FlatGraph, step: Step) -> bool:
    """Whether a step's only reader is computed as part of it.

    An activation function of the operators that have one, or the normalization of a
    kernel that is used once.
    """
    outputs = keras.tree.flatten(step.outputs)
    if len(outputs) != 1 or graph.is_output(outputs[0]):
        return False
    consumers = graph.consumers(outputs[0])
    if len(consumers) != 1:
        return False
    [reader] = consumers
    if isinstance(reader.op, keras.layers.BatchNormalization):
        return on_last_axis(reader) and folds(graph, reader)
    return is_clip(reader) and _can_fuse(graph, step)


def _can_fuse(graph: FlatGraph, step: Step) -> bool:
    """Whether TFLite's operator for a step has a fused activation function."""
    if isinstance(step.op, keras.Layer):
        both_ways = any(map(graph.is_used_transposed, step.weights))  # BATCH_MATMUL
        return isinstance(step.op, _FUSING) and not both_ways
    return operation_name(step.op) in ("add", "subtract", "multiply")
