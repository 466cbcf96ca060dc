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
            lambda x: keras.Input(
                batch_shape=x.shape, dtype=_full_precision(x.dtype), name=x.name
            ),
            graph.inputs,
        )
        self._wrap = wrap or (lambda copy, _: copy)
        # By original: the layer in use, and the bare copy within it.
        self._copies: dict[int, tuple[keras.Layer, keras.Layer]] = {}
        self._layers: dict[tuple[int, ...], keras.Layer] = {}
        # What to assign once all is built: values to copies, stand-ins to ties.
        self._pairs: list[tuple[keras.Layer, list[keras.Variable]]] = []
        self._ties: list[tuple[Tied, Step]] = []
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
        return self._layer(step)(*args, **kwargs)

    def _layer(self, step: Step) -> keras.Layer:
        """The layer for a step: the same one for the same layer and stand-ins."""
        key = (id(step.op), *(id(stand_in) for _, stand_in in step.stand_ins))
        if key not in self._layers:
            self._layers[key] = self._new_layer(step)
        return self._layers[key]

    def _new_layer(self, step: Step) -> keras.Layer:
        weights = step.op.weights
        own = {id(v): stand_in for v, stand_in in step.stand_ins}
        if not own:
            return self._shared_copy(step)
        if all(id(v) in own for v in weights):
            copy = _copy(step.op, step.name)
            self._pairs.append((copy, [own[id(v)] for v in weights]))
            return self._wrap(copy, step.op)
        private = [v.name for v in weights if id(v) in own]
        if len(private) != sum(v.name in private for v in weights):
            # Names don't tell them from what is shared. (Positions are those of the
            # bare layer, and layers that get wrapped have unique names.)
            private = [i for i, v in enumerate(weights) if id(v) in own]
        tied = Tied(self._shared_copy(step), private=private, name=step.name)
        self._ties.append((tied, step))
        return tied

    def _shared_copy(self, step: Step) -> keras.Layer:
        if id(step.op) not in self._copies:
            name = step.name
            if step.stand_ins:  # the name of this use is taken by its Tied
                name = f"{name}_shared"
            copy = _copy(step.op, name)
            self._pairs.append((copy, step.op.weights))
            self._copies[id(step.op)] = self._wrap(copy, step.op), copy
        return self._copies[id(step.op)][0]

    def finish(self) -> keras.Model:
        """The model, with the weights of the graph's layers."""
        model = keras.Model(
            self.inputs, self.resolve(self.graph.outputs), name=self.graph.name
        )
        for copy, values in self._pairs:
            for new, old in zip(copy.weights, values, strict=True):
                new.assign(old.value)
            if hasattr(copy, "finalize_state"):
                # Preprocessing layers compute with what they derive from weights.
                copy.finalize_state()
        for tied, step in self._ties:
            own = {id(v): stand_in for v, stand_in in step.stand_ins}
            copy = self._copies[id(step.op)][1]
            source = dict(zip(map(id, copy.weights), step.op.weights, strict=True))
            for original, private in tied.private_copies:
                private.assign(own[id(source[id(original)])].value)
        return model


def _copy(layer: keras.Layer, name: str) -> keras.Layer:
    # In full precision, whatever the policy: TFLite's converter takes no half floats,
    # and rounding to int8 is precision loss enough.
    config = {**layer.get_config(), "name": name}
    if "dtype" in config and layer.dtype_policy.name != "float32":
        config["dtype"] = "float32"
    copy = type(layer).from_config(config)
    copy.trainable = layer.trainable
    return copy


def _full_precision(dtype: str) -> str:
    return "float32" if "float" in dtype else dtype
