"""`InverseRoot`: one over a square root, of what rounding may make zero."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.quantize.rules import operation_name
from keras_share.quantize.signs import is_never_negative

_ROOTS = ("rsqrt", "sqrt")


@keras.saving.register_keras_serializable(package="keras_share")
class InverseRoot(keras.layers.Layer):
    """Computes `1 / sqrt(x)` of a variance to which `epsilon` was added.

    A small variance is zero among the integers of its range. Its root is then the
    largest number of the next range, in a file as here; but the gradient there is
    infinite, and makes all weights NaN in a step. In training `x` is not less than
    `epsilon`, as it wouldn't be before rounding.

    Args:
        epsilon: What was added.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(self, epsilon: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return ops.rsqrt(ops.maximum(inputs, self.epsilon) if training else inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


def with_inverse_roots(graph: FlatGraph) -> FlatGraph:
    """A graph in which nothing is divided by roots, which integers can't be.

    As in a normalization that somebody wrote: each root of what is never negative
    becomes its inverse, and what was divided by it is multiplied.
    """
    changed: dict[Step, Step] = {}
    for step in graph:
        name = operation_name(step.op)
        if step.body is not None:
            changed[step] = replace(step, body=with_inverse_roots(step.body))
        elif name not in _ROOTS or not is_never_negative(graph, step.args[0]):
            continue
        elif name == "rsqrt":
            changed[step] = _inverse(graph, step)
        else:
            root, readers = step.output, graph.consumers(step.output)
            over = {x: y for x in readers if (y := _product(x, root)) is not None}
            if len(over) == len(readers) and not graph.is_output(root):
                changed |= {step: _inverse(graph, step), **over}
    return replace(graph, steps=tuple(changed.get(step, step) for step in graph))


def _inverse(graph: FlatGraph, step: Step) -> Step:
    """The inverse of a root, of a variance to which something was added."""
    added = graph.producer(step.args[0])
    sums = added.args if added and operation_name(added.op) == "add" else ()
    epsilons = [x for x in sums if not isinstance(x, keras.KerasTensor)]
    epsilon = float(np.max(epsilons, initial=0.0)) or keras.backend.epsilon()
    return replace(step, op=InverseRoot(epsilon), kwargs={})


def _product(step: Step, root: keras.KerasTensor) -> Step | None:
    """What divides by a root, as it does with the inverse in its place."""
    name, args = operation_name(step.op), step.args
    if name in ("divide", "true_divide") and args[1] is root and args[0] is not root:
        x = args[0]
        if isinstance(x, keras.KerasTensor):
            return replace(step, op=_multiply(), reason=None)
        name = "reciprocal" if np.all(np.equal(x, 1)) else name
    if name != "reciprocal":
        return None
    return replace(step, op=keras.layers.Identity(), args=(root,), reason=None)


def _multiply() -> keras.Operation:
    """The operation that `ops.multiply` runs, which has no public name."""
    x = keras.Input(())
    return keras.Model(x, ops.multiply(x, x)).operations[-1]
