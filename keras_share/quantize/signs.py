"""`is_never_negative`: what is zero or more by the way in which it is computed."""

from typing import Any

import keras
import numpy as np

from keras_share.flat.flat_graph import FlatGraph
from keras_share.quantize.rules import operation_name

_ALWAYS = {"absolute", "exp", "relu", "relu6", "sigmoid", "softmax", "square"}
# If all tensors that are read are.
_IF_ALL = {
    *("amax", "average_pool", "broadcast_to", "concatenate", "expand_dims", "max"),
    *("max_pool", "mean", "reshape", "squeeze", "sum", "transpose"),
}


def is_never_negative(graph: FlatGraph, value: Any) -> bool:
    """Whether a tensor or constant can't be negative, whatever the inputs are."""
    if not isinstance(value, keras.KerasTensor):
        return bool(np.all(np.asarray(value) >= 0))
    step = graph.producer(value)
    if step is None:
        return False
    name, args = operation_name(step.op), step.args
    if name == "multiply" and args[0] is args[1]:
        return True
    if name == "maximum":
        return any(is_never_negative(graph, x) for x in args)
    if name in ("add", "minimum", "multiply"):
        return all(is_never_negative(graph, x) for x in args)
    if name in _IF_ALL:
        return all(is_never_negative(graph, x) for x in step.inputs)
    return name in _ALWAYS
