"""A model, nested models opened, as its layers with weights and what feeds each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import keras
from keras import tree

from keras_share.flat.flatten import check_model


@dataclass(frozen=True, eq=False)
class Node:
    """One use of a layer with weights, a merge of several tensors, or an input.

    Attributes:
        op: The layer or operation; None for an input of the model.
        path: Names of the nested models around the layer and its own, joined by "/".
        sources: The nodes whose outputs it reads, directly or through layers without
            weights, which have no node of their own.
    """

    op: Any
    path: str
    sources: tuple["Node", ...] = ()


def walk(model: keras.Model) -> list[Node]:
    """Lists the nodes of a model, each after those that it reads.

    Depth first, so that the nodes of a block stand together even where two towers of
    a model run side by side.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model.
    """
    check_model(model)
    order: list[Node] = []
    seen: set[int] = set()
    stack = [(node, False) for node in reversed(list(_enter(model, [], "")))]
    while stack:
        node, has_sources = stack.pop()
        if has_sources:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((source, False) for source in reversed(node.sources))
    return order


def is_nested(op: Any) -> bool:
    """Whether an operation of a model is a Sequential or Functional model itself."""
    graph = isinstance(op, (keras.Sequential, keras.Function))
    return graph and isinstance(op, keras.Layer)


def plain_model(model: keras.Model, name: str | None = None) -> keras.Model:
    """The graph of a Functional model, out of its class and not compiled.

    Raises:
        ValueError: If the class computes something else than its graph.
    """
    plain = keras.Model(model.input, model.output, name=name)
    check_call(model, type(plain))
    return plain


def check_call(model: keras.Model, base: type[keras.Model]) -> None:
    """Raises ValueError if the class of a model computes otherwise than `base`."""
    if type(model).call is not base.call:
        raise ValueError(
            f"The model '{model.name}' of type {type(model).__name__} overrides "
            "`call`, so that its layers don't tell what it computes. Build it of "
            "layers alone: `keras.Model(inputs, outputs)`."
        )


def _enter(model: keras.Model, sources: list[Node], prefix: str) -> Iterable[Node]:
    """The nodes that make the outputs of a model fed by `sources`."""
    if isinstance(model, keras.Sequential):
        check_call(model, keras.Sequential)
        node = sources[0] if sources else Node(None, model.inputs[0].name)
        for layer in model.layers:
            node = next(iter(_call(layer, [node], prefix)))
        return [node]
    calls: list[tuple[Any, tuple, dict, Any]] = []

    def record(op: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = op(*args, **kwargs)
        calls.append((op, args, kwargs, outputs))
        return outputs

    run = keras.models.clone_model(
        plain_model(model), clone_function=lambda op: op, call_function=record
    )
    # What is not passed to a nested model is an optional input.
    nodes = {id(x): Node(None, x.name) for x in run.inputs}
    nodes.update(zip(map(id, run.inputs), sources, strict=False))
    for op, args, kwargs, outputs in calls:
        read = [nodes[id(x)] for x in _tensors((args, kwargs))]
        made = _call(op, read, prefix)
        nodes.update(zip(map(id, tree.flatten(outputs)), made, strict=False))
    return [nodes[id(x)] for x in run.outputs]


def _call(op: Any, sources: list[Node], prefix: str) -> Iterable[Node]:
    path = prefix + op.name
    if is_nested(op):
        return _enter(op, sources, f"{path}/")
    has_weights = isinstance(op, keras.Layer) and op.weights
    if not has_weights and len({id(source) for source in sources}) == 1:
        return repeat(sources[0])
    return repeat(Node(op, path, tuple(sources)))


def _tensors(structure: Any) -> Iterator[keras.KerasTensor]:
    flat = tree.flatten(structure)
    return (x for x in flat if isinstance(x, keras.KerasTensor))
