"""From a flat graph back to a model, with layers exchanged on the way."""

from collections.abc import Callable
from typing import Any

import keras
from keras import tree

from keras_share.graph.flat_graph import FlatGraph, Step
from keras_share.tied import Tied


class Rebuilder:
    """Builds a Functional model of a flat graph, step by step, on copied weights.

    The layers of the graph are copied by config; a layer that several steps use is
    copied once. A step with private variables becomes a `Tied` use of the copy, or a
    layer of its own where nothing of it is shared.

    Args:
        graph: The graph to rebuild.
        wrap: Called with each copied layer and its original, before its first use;
            returns the layer to use in its place.
    """

    def __init__(
        self,
        graph: FlatGraph,
        wrap: Callable[[keras.Layer, keras.Layer], keras.Layer] | None = None,
    ):
        self.graph = graph
        self.inputs = tree.map_structure(
            lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name),
            graph.inputs,
        )
        self._wrap = wrap or (lambda copy, _: copy)
        self._copies: dict[int, tuple[keras.Layer, keras.Layer]] = {}
        self._values: list[tuple[keras.Variable, keras.Variable]] = []
        self._valued: set[int] = set()
        self._env: dict[int, keras.KerasTensor] = {}
        flat = zip(tree.flatten(graph.inputs), tree.flatten(self.inputs), strict=True)
        self._env.update((id(old), new) for old, new in flat)

    def resolve(self, structure: Any) -> Any:
        """The new tensors that stand for the graph's tensors in a structure."""
        return tree.map_structure(lambda x: self._env.get(id(x), x), structure)

    def set(self, old: Any, new: Any) -> None:
        """Declares the tensors in `new` to stand for those in `old`."""
        pairs = zip(tree.flatten(old), tree.flatten(new), strict=True)
        self._env.update((id(x), y) for x, y in pairs)

    def call(self, step: Step) -> Any:
        """Calls a copy of the step's layer, or its operation, on the new tensors."""
        args, kwargs = self.resolve((step.args, dict(step.kwargs)))
        if not isinstance(step.op, keras.Layer):
            return step.op(*args, **kwargs)
        weights = step.op.weights
        own = {id(v): stand_in for v, stand_in in step.stand_ins}
        if weights and all(id(v) in own for v in weights):
            copy = _copy(step.op, step.name)
            outputs = self._wrap(copy, step.op)(*args, **kwargs)
            values = [own[id(v)] for v in weights]
            self._values += zip(copy.weights, values, strict=True)
            return outputs
        layer, copy = self._shared_copy(step)
        if not own:
            outputs = layer(*args, **kwargs)
            self._set_values(copy, step.op)
            return outputs
        names = [v.name for v in weights if id(v) in own]
        tied = Tied(layer, private=names, name=step.name)
        outputs = tied(*args, **kwargs)
        self._set_values(copy, step.op)
        source = dict(zip(map(id, copy.weights), weights, strict=True))
        for original, private in tied.private_copies:
            value = source[id(original)]
            self._values.append((private, own.get(id(value), value)))
        return outputs

    def _set_values(self, copy: keras.Layer, original: keras.Layer) -> None:
        if id(original) not in self._valued:
            self._valued.add(id(original))
            self._values += zip(copy.weights, original.weights, strict=True)

    def _shared_copy(self, step: Step) -> tuple[keras.Layer, keras.Layer]:
        if id(step.op) not in self._copies:
            name = step.name
            if step.stand_ins:  # the name of this use is taken by its Tied
                name = f"{name}_shared"
            copy = _copy(step.op, name)
            self._copies[id(step.op)] = self._wrap(copy, step.op), copy
        return self._copies[id(step.op)]

    def finish(self) -> keras.Model:
        """The model, with the weights of the graph's layers."""
        model = keras.Model(
            self.inputs, self.resolve(self.graph.outputs), name=self.graph.name
        )
        for new, old in self._values:
            new.assign(old.value)
        return model


def _copy(layer: keras.Layer, name: str) -> keras.Layer:
    copy = type(layer).from_config({**layer.get_config(), "name": name})
    copy.trainable = layer.trainable
    return copy
