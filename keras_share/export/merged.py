"""What the converter would merge or drop of a quantized model, and not round then."""

import math
from itertools import zip_longest
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_share.export.rounded import Rounded
from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.rebuild import Rebuilder
from keras_share.layers.held_weight import HeldWeight
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.float_edge import BETWEEN, FloatEdge
from keras_share.quantize.quantize_weights import QuantizeWeights
from keras_share.quantize.rules import find_rule, operation_name

# What changes nothing as the second operand.
_NEUTRAL = {"add": 0, "divide": 1, "multiply": 1, "subtract": 0, "true_divide": 1}
_REDUCTIONS = ("max", "mean", "min", "sum")  # of single numbers


def call_unmerged(builder: Rebuilder, step: Step) -> Any:
    """Calls a step of a quantized model so that each range stays what it is."""
    graph = builder.graph
    if _has_unread_parts(graph, step):
        return _sliced(builder, step)
    if _has_twin(graph, step):
        return _call_rounded(builder, step)
    if _hands_on(graph, step):
        edge = FloatEdge(BETWEEN, name=f"{step.name}_before")
        return ops.reshape(edge(builder.resolve(step.inputs[0])), step.output.shape)
    if operation_name(step.op) == "clip":
        return _call_rounded_first(builder, step)
    return _rounded_again(graph, step, builder.call(step))


def _call_rounded_first(builder: Rebuilder, step: Step) -> Any:
    """Calls a step that cuts numbers off on what is in the range of its output.

    The converter has the limits as integers of the input's range, which may be coarse.
    """
    readers = [reader.op for reader in builder.graph.consumers(step.output)]
    if len(readers) != 1 or not isinstance(readers[0], FakeQuantize):
        return builder.call(step)
    return _call_after(builder, step, readers[0])


def _rounded_again(graph: FlatGraph, step: Step, outputs: Any) -> Any:
    """What a step moved, rounded to the range it has where several read it.

    If one of these averages, which is rounded to that range, too, the converter takes
    the range from there, and computes in floating point what the others read.
    """
    rounds = _moved_from(graph, step)
    if rounds is None:
        return outputs

    def again(tensor: keras.KerasTensor, output: Any) -> Any:
        if len(graph.consumers(tensor)) < 2:
            return output
        return Rounded(rounds, f"{step.name}_range")(output)

    return tree.map_structure(again, step.outputs, outputs)


def _moved_from(graph: FlatGraph, step: Step | None) -> FakeQuantize | None:
    """The range of what a step moves only, which has stayed what it was."""
    if step is not None and len(step.inputs) == 1:
        rule = find_rule(step.op)
        if rule is not None and rule.output == "input" and rule.write is None:
            before = graph.producer(step.inputs[0])
            if before is not None and isinstance(before.op, FakeQuantize):
                return before.op
            return _moved_from(graph, before)
    return None


def _has_twin(graph: FlatGraph, step: Step) -> bool:
    """Whether an earlier layer computes the same, of weights that are equal now.

    The converter makes one of both, and can't round it to two ranges.
    """
    if not isinstance(step.op, QuantizeWeights):
        return False
    values = [ops.convert_to_numpy(v) for v in step.weights]
    for other in graph.consumers(step.inputs[0]):
        if other is step:
            break
        if isinstance(other.op, QuantizeWeights) and all(
            np.array_equal(value, ops.convert_to_numpy(v))
            for value, v in zip_longest(values, other.weights, fillvalue=np.nan)
        ):
            return True
    return False


def _call_rounded(builder: Rebuilder, step: Step) -> Any:
    """Calls a step on an input that is rounded for it alone."""
    [tensor] = step.inputs
    # What is cast or moved has the range that it had.
    rounds = builder.graph.producer(tensor)
    while rounds is not None and not isinstance(rounds.op, FakeQuantize):
        if len(rounds.inputs) != 1 or rounds.weights:
            return builder.call(step)
        rounds = builder.graph.producer(rounds.inputs[0])
    if rounds is None:
        return builder.call(step)
    return _call_after(builder, step, rounds.op)


def _call_after(builder: Rebuilder, step: Step, rounds: FakeQuantize) -> Any:
    """Calls a step on its input as a range rounds it, for this step alone."""
    tensor = step.inputs[0]
    x = builder.resolve(tensor)
    edge = FloatEdge(BETWEEN, name=f"{step.name}_before")
    builder.set(tensor, Rounded(rounds, f"{edge.name}_range")(edge(x)))
    outputs = builder.call(step)
    builder.set(tensor, x)
    return outputs


def _hands_on(graph: FlatGraph, step: Step) -> bool:
    """Whether an operation changes nothing now but the range of its first input.

    Such as a product with a scale that is still one everywhere, or a mean of single
    numbers. The converter takes it out, and of two ranges in a row one.
    """
    name = operation_name(step.op)
    if not step.args or not isinstance(step.args[0], keras.KerasTensor):
        return False
    before = graph.producer(step.args[0])
    return (
        (_is_neutral(graph, step) if name in _NEUTRAL else name in _REDUCTIONS)
        and None not in (*step.args[0].shape, *step.output.shape)
        and math.prod(step.args[0].shape) == math.prod(step.output.shape)
        and before is not None
        and isinstance(before.op, FakeQuantize)
        and all(isinstance(x.op, FakeQuantize) for x in graph.consumers(step.output))
    )


def _has_unread_parts(graph: FlatGraph, step: Step) -> bool:
    """Whether a step is a split with a part that nothing reads, which stays float."""
    return operation_name(step.op) == "split" and not all(
        graph.consumers(x) or graph.is_output(x) for x in step.outputs
    )


def _sliced(builder: Rebuilder, step: Step) -> list[Any]:
    """The parts of a split, one by one."""
    x, parts, start = builder.resolve(step.args[0]), [], 0
    axis = step.op.axis % len(x.shape)
    before = (slice(None),) * axis
    for part in step.outputs:
        stop = start + part.shape[axis]
        place = (*before, slice(start, stop))
        parts.append(x[place])
        start = stop
    return parts


def _is_neutral(graph: FlatGraph, step: Step) -> bool:
    value = _value(graph, step.args[1])
    name = operation_name(step.op)
    return value is not None and bool(np.all(value == _NEUTRAL[name]))


def _value(graph: FlatGraph, x: Any) -> Any:
    """The value of what no input has a part in, or None."""
    if not isinstance(x, keras.KerasTensor):
        return x
    step = graph.producer(x)
    if step is None:
        return None
    if isinstance(step.op, HeldWeight):
        return ops.convert_to_numpy(step.weights[0])
    if isinstance(step.op, FakeQuantize):
        value = _value(graph, step.inputs[0])
        return None if value is None else ops.convert_to_numpy(step.op(value))
    return None
