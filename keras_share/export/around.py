"""`with_edges`: layers around a quantized model stay in floating point."""

from dataclasses import replace

import keras

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.tensors import replaced
from keras_share.quantize.float_edge import ENTER, LEAVE, FloatEdge
from keras_share.quantize.quantized_model import QuantizedModel
from keras_share.quantize.rules import find_rule

_FIXED = (
    *(keras.activations.log_softmax, keras.activations.sigmoid),
    *(keras.activations.softmax, keras.activations.tanh),
)


def with_edges(graph: FlatGraph) -> FlatGraph:
    """A graph with edges wherever it goes into a quantized model or comes out of one.

    What follows and has a range that TFLite fixes, as a softmax does, is computed in
    integers as well.

    Args:
        graph: Of a model that is quantized, or in which quantized ones are nested.
    """
    rounded = _rounded(graph)
    edges: dict[keras.KerasTensor, keras.KerasTensor] = {}
    steps: list[Step] = []
    for step in graph:
        own = step in rounded
        crossed = [
            x
            for x in step.inputs
            if "float" in x.dtype and _is_rounded(graph, x, rounded) != own
        ]
        for x in crossed:
            if x not in edges:
                kind = LEAVE if own else ENTER
                edge = FloatEdge(kind, name=f"{step.name}_{kind}_{len(edges)}")
                edges[x] = keras.KerasTensor(x.shape, x.dtype)
                steps.append(Step(edge, edge.name, (x,), {}, edges[x]))
        given = (step.args, dict(step.kwargs))
        args, kwargs = replaced(given, {x: edges[x] for x in crossed})
        steps.append(replace(step, args=args, kwargs=kwargs))
    return replace(graph, steps=tuple(steps))


def _rounded(graph: FlatGraph) -> set[Step]:
    rounded: set[Step] = set()
    for step in graph:
        if any(isinstance(layer, QuantizedModel) for layer, _ in step.within) or (
            _has_fixed_range(step.op)
            and all(graph.producer(x) in rounded for x in step.inputs)
        ):
            rounded.add(step)
    return rounded


def _has_fixed_range(op: keras.Operation) -> bool:
    if isinstance(op, keras.layers.Activation):
        return op.activation in _FIXED
    rule = find_rule(op)
    fixed = rule is not None and isinstance(rule.output, tuple)
    return fixed or isinstance(op, keras.layers.Softmax)


def _is_rounded(graph: FlatGraph, x: keras.KerasTensor, rounded: set[Step]) -> bool:
    source = graph.producer(x)
    # An input of the graph is, if a quantized model reads it.
    return any(step in rounded for step in ([source] if source else graph.consumers(x)))
