"""Numbers so large, in place of what is masked, that integers tell no others apart."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.quantize.rules import ORDERS, operation_name

LARGE = 1e3
MASKED = (
    "large numbers mask what it reads, beside which integers can't tell others apart; "
    "keras.layers.Softmax and attention with a mask are computed in integers"
)
# By these a mask reaches scores, as a large negative number.
_MASKS = (
    *("add", "broadcast_to", "cast", "divide", "expand_dims", "minimum", "multiply"),
    *("negative", "reshape", "subtract", "true_divide", "where"),
)
_OF_SCORES = ("argmax", "argmin", "max", "min", "softmax")


def reads_large(graph: FlatGraph, step: Step) -> bool:
    """Whether a step computes with masked numbers, or gives them away as an output.

    What is added to numbers may also be meant; but for scores, only what a choice puts
    in their place is known to be a mask.
    """
    name = operation_name(step.op)
    if name in ORDERS:
        return False  # whoever reads the result does
    if name in _OF_SCORES and is_masked(graph, step.inputs[0]):
        return True
    given = [x for x in keras.tree.flatten(step.outputs) if graph.is_output(x)]
    return any(is_masked(graph, x, ("where", *ORDERS)) for x in (*step.inputs, *given))


def is_masked(
    graph: FlatGraph, tensor: keras.KerasTensor, by: Sequence[str] = _MASKS
) -> bool:
    """Whether a tensor has numbers so large that no step tells others apart.

    Args:
        graph: The graph.
        tensor: The tensor.
        by: The operations by which such numbers may reach it.
    """
    left = [tensor]
    seen: set[Step] = set()
    while left:
        step = graph.producer(left.pop())
        if step is None or step in seen:
            continue
        scaled = by is _MASKS and isinstance(step.op, keras.layers.Rescaling)
        if not scaled and operation_name(step.op) not in by:
            continue
        seen.add(step)
        parts = [x for x in keras.tree.flatten(step.args) if x is not None]
        parts += [step.op.scale, step.op.offset] if scaled else []
        constants = [x for x in parts if not isinstance(x, keras.KerasTensor)]
        if any(np.max(np.abs(x), initial=0) >= LARGE for x in constants):
            return True
        left += step.inputs
    return False
