"""From a flat graph back to a model, with layers exchanged on the way."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
from keras import tree

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.layers.sublayers import sublayers
from keras_share.layers.tied import Tied
from keras_share.layers.transposed import Transposed


class Rebuilder:
    """Builds a Functional model of a flat graph, step by step, on copied weights.

    The layers of the graph are copied by config; a layer that several steps use is
    copied once for all uses that have a weight in common. Where their other weights
    differ, each further use is a `Tied` one. A `Transposed` use becomes one of the copy
    that has the matrix.

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
        # By original: for each copy the weights it stands for, the layer in use, and
        # the bare copy within it.
        self._copies: dict[int, list[tuple[list, keras.Layer, keras.Layer]]] = {}
        self._layers: dict[tuple[int, ...], keras.Layer] = {}
        # What to assign once all is built: of ties, with the bare copy.
        self._ties: list[tuple[Tied, keras.Layer, list[keras.Variable]]] = []
        self._biases: list[tuple[Transposed, keras.Variable]] = []
        # Of what is used transposed, the matrix must be that of a copy, not of a tie.
        self._matrices = {
            id(transposed_matrix(step))
            for step in graph
            if isinstance(step.op, Transposed)
        }
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
        return self.layer(step)(*args, **kwargs)

    def layer(self, step: Step) -> keras.Layer:
        """The layer for a step: the same one for the same layer and weights."""
        weights = step.weights
        key = (id(step.op), *map(id, weights))
        if key not in self._layers:
            self._layers[key] = self._new_layer(step, weights)
        return self._layers[key]

    def _new_layer(self, step: Step, weights: list[keras.Variable]) -> keras.Layer:
        if isinstance(step.op, Transposed):
            return self._new_transposed(step, weights)
        copies = self._copies.setdefault(id(step.op), [])
        lowest = 2 if any(id(v) in self._matrices for v in weights) else 0
        for known, layer, copy in copies:
            pairs = list(zip(known, weights, strict=True))
            if any(a is b for a, b in pairs if len(a.shape) >= lowest):
                private = _names(
                    step.op, [i for i, (a, b) in enumerate(pairs) if a is not b]
                )
                tied = Tied(layer, private=private, name=step.name)
                self._ties.append((tied, copy, weights))
                return tied
        copy = _copy(step.op, step.name)
        layer = self._wrap(copy, step.op)
        copies.append((weights, layer, copy))
        return layer

    def _new_transposed(self, step: Step, weights: list[keras.Variable]) -> keras.Layer:
        op = step.op
        of_use = {id(v): w for v, w in zip(op.weights, weights, strict=True)}
        matrix = transposed_matrix(step)
        holder = self._holder(matrix)
        if holder is None:  # the other use comes later, if there is one
            stand_ins = tuple((v, of_use[id(v)]) for v in op.source.weights)
            name = f"{step.name}_source"
            unused = replace(step, op=op.source, name=name, stand_ins=stand_ins)
            uses = [s for s in self.graph if any(v is matrix for v in s.weights)]
            uses = [s for s in uses if not isinstance(s.op, Transposed)]
            self.layer(next(iter(uses), unused))
            holder = self._holder(matrix)
        source, part = holder
        bare = op.use_of(source, part=part, name=step.name, dtype="float32")
        layer = self._wrap(bare, op)
        if op.bias is not None:
            owner = layer if isinstance(layer, Transposed) else bare
            self._biases.append((owner, of_use[id(op.bias)]))
        return layer

    def _holder(self, matrix: keras.Variable) -> tuple[keras.Layer, str | None] | None:
        """The copied layer that has a matrix, and the way to what owns it."""
        for known, layer, copy in (c for cs in self._copies.values() for c in cs):
            if any(v is matrix for v in known):
                for holder in (copy, layer):
                    if hasattr(holder, "quantized_layer"):
                        return holder, "layer"
                return copy, None
        return None

    def finish(self) -> keras.Model:
        """The model, with the weights of the graph's layers."""
        model = keras.Model(
            self.inputs, self.resolve(self.graph.outputs), name=self.graph.name
        )
        for values, _, copy in (c for copies in self._copies.values() for c in copies):
            for new, old in zip(copy.weights, values, strict=True):
                new.assign(old.value)
            if hasattr(copy, "finalize_state"):
                # Preprocessing layers compute with what they derive from weights.
                copy.finalize_state()
        for tied, copy, values in self._ties:
            source = dict(zip(map(id, copy.weights), values, strict=True))
            for original, private in tied.private_copies:
                private.assign(source[id(original)].value)
        for layer, bias in self._biases:
            layer.bias.assign(bias.value)
        return model


def transposed_matrix(step: Step) -> keras.Variable:
    """The variable that a step of a `Transposed` has as its matrix."""
    own = {id(v): stand_in for v, stand_in in step.stand_ins}
    return own.get(id(step.op.matrix), step.op.matrix)


def _names(layer: keras.Layer, positions: list[int]) -> list[str | int]:
    """Names of weights by position; the positions where names don't tell them apart.

    Positions are those of the bare layer; layers that get wrapped have unique names.
    """
    names = [v.name for v in layer.weights]
    chosen = [names[i] for i in positions]
    return positions if sum(n in chosen for n in names) > len(chosen) else chosen


def _copy(layer: keras.Layer, name: str) -> keras.Layer:
    # In full precision, whatever the policy.
    config = {**layer.get_config(), "name": name}
    if "dtype" in config and layer.dtype_policy.name != "float32":
        config["dtype"] = "float32"
    # A layer of the user's own inside a wrapper need not be registered.
    inside = {type(part).__name__: type(part) for part in sublayers(layer)}
    with keras.saving.custom_object_scope(inside):
        copy = type(layer).from_config(config)
    copy.trainable = layer.trainable
    return copy


def _full_precision(dtype: str) -> str:
    return "float32" if "float" in dtype else dtype
