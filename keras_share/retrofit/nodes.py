"""A model, nested models opened, as its layers with weights and what feeds each."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat

import keras

from keras_share.flat.built_model import check_model
from keras_share.flat.program import record
from keras_share.flat.tensors import tensors
from keras_share.layers.sublayers import sublayers
from keras_share.layers.tied_cloner import check_graph, is_nested, plain_model

# What `quantize_model` puts around and between the layers.
_ROUNDING = {"keras_share>FakeQuantize", "keras_share>QuantizeWeights"}


@dataclass(frozen=True, eq=False)
class Node:
    """One use of a layer with weights, a merge of several tensors, or an input.

    Attributes:
        op: The layer or operation; None for an input of the model.
        path: Names of the nested models around the layer and its own, joined by "/".
        sources: The nodes whose outputs it reads, directly or through layers without
            weights, which have no node of their own.
    """

    op: keras.Operation | None
    path: str
    sources: tuple["Node", ...] = ()

    @property
    def layer(self) -> keras.Layer:
        """The layer, of a node that has weights."""
        assert isinstance(self.op, keras.Layer), self
        return self.op

    @property
    def has_weights(self) -> bool:
        """Whether it is a layer with weights."""
        return isinstance(self.op, keras.Layer) and bool(self.op.weights)


def walk(model: keras.Model) -> list[Node]:
    """Lists the nodes of a model, each after those that it reads.

    A nested model that is called several times, as the encoder of two inputs, is opened
    where it is called first. Depth first, so that the nodes of a block stand together
    even where two towers of a model run side by side.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model, or a
            quantized one.
    """
    check_model(model)
    names = {keras.saving.get_registered_name(type(x)) for x in sublayers(model)}
    if names & _ROUNDING:
        raise ValueError(
            "A model shares first, and is quantized then. Received: the quantized "
            f"model '{model.name}'. Pass the one that `quantize_model` was given."
        )
    order: list[Node] = []
    seen: set[Node] = set()
    ends = list(_enter(model, [], "", set()))
    stack = [(node, False) for node in reversed(ends)]
    while stack:
        node, has_sources = stack.pop()
        if has_sources:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((source, False) for source in reversed(node.sources))
    return order


def _enter(
    model: keras.Model, sources: list[Node], prefix: str, known: set[keras.Model]
) -> Iterable[Node]:
    """The nodes that make the outputs of a model fed by `sources`."""
    check_graph(model)
    if isinstance(model, keras.Sequential):
        node = sources[0] if sources else Node(None, model.inputs[0].name)
        for layer in model.layers:
            node = next(iter(_call(layer, [node], prefix, known)))
        return [node]
    run, calls = record(plain_model(model))
    # What is not passed to a nested model is an optional input.
    nodes = {x: Node(None, x.name) for x in run.inputs}
    nodes.update(zip(run.inputs, sources, strict=False))
    for op, args, kwargs, outputs in calls:
        # A mask from the beginning would tell the first of several layers from others.
        masks = {id(x) for x in tensors(kwargs.get("mask")) if nodes[x].op is None}
        read = [x for x in tensors((args, kwargs)) if id(x) not in masks]
        read = [nodes[x] for x in read or tensors((args, kwargs))]
        made = _call(op, read, prefix, known)
        nodes.update(zip(tensors(outputs), made, strict=False))
    return [nodes[x] for x in run.outputs]


def _call(
    op: keras.Operation, sources: list[Node], prefix: str, known: set[keras.Model]
) -> Iterable[Node]:
    path = prefix + op.name
    if is_nested(op) and op not in known:
        known.add(op)
        return _enter(op, sources, f"{path}/", known)
    node = Node(None if is_nested(op) else op, path, tuple(sources))
    passes = not node.has_weights and len(set(sources)) == 1
    return repeat(sources[0] if passes and node.op is not None else node)
