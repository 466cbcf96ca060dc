"""From a flat graph back to a model, with layers exchanged on the way."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import tree

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.tensors import corresponding, new_input, replaced, tensors
from keras_share.layers.copying import NoCopyError, copy_or_keep, derive
from keras_share.layers.rebuilding import rebuilding
from keras_share.layers.tied import Tied
from keras_share.layers.transposed import Transposed
from keras_share.layers.variable_map import VariableMap


class _Copy(NamedTuple):
    """A copied layer.

    Attributes:
        weights: The weights of the graph that it stands for.
        layer: The layer in use.
        bare: The copy within it.
    """

    weights: list[keras.Variable]
    layer: keras.Layer
    bare: keras.Layer


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
        keeps: Whether layers that can't be copied are used with the weights that they
            have. Those without weights always are.
    """

    def __init__(
        self,
        graph: FlatGraph,
        wrap: Callable[[keras.Layer, keras.Layer], keras.Layer] | None = None,
        keeps: bool = False,
    ):
        self._whole = graph
        self._take(graph)
        self._keeps = keeps
        self._wrap = wrap or (lambda copy, _: copy)
        self._copies: dict[keras.Layer, list[_Copy]] = {}  # by original
        self._layers: dict[tuple, keras.Layer] = {}
        self._homes: dict[keras.Layer, FlatGraph] = {}
        self._visits: dict[tuple, Tied] = {}  # by layer and graph
        # What to assign once all is built: of ties, with the bare copy.
        self._ties: list[tuple[Tied, keras.Layer, list[keras.Variable]]] = []
        self._biases: list[tuple[Transposed, keras.Variable]] = []

    def _take(self, graph: FlatGraph) -> None:
        self.graph = graph
        self.inputs = tree.map_structure(
            lambda x: new_input(x.shape, _full_precision(x.dtype), x.name),
            graph.inputs,
        )
        self._env = dict(corresponding(graph.inputs, self.inputs))

    def nested(self, body: FlatGraph) -> "Rebuilder":
        """One for the body of a step, which has its layers in common with this one."""
        inner = copy.copy(self)
        inner._take(body)
        return inner

    def resolve(self, structure: Any) -> Any:
        """The new tensors that stand for the graph's tensors in a structure."""
        return replaced(structure, self._env)

    def set(self, old: Any, new: Any) -> None:
        """Declares the tensors in `new` to stand for those in `old`."""
        self._env.update(corresponding(old, new))

    def call(self, step: Step) -> Any:
        """Calls a copy of the step's layer, or its operation, on the new tensors."""
        args, kwargs = self.resolve((step.args, dict(step.kwargs)))
        if not isinstance(step.op, keras.Layer):
            readers = [
                reader.op
                for x in tensors(step.outputs)
                for reader in self.graph.consumers(x)
            ]
            if type(step.op).__name__ == "Multiply" and any(map(_runs, readers)):
                args = [_dense(x, step.output.dtype) for x in args]
            return step.op(*args, **kwargs)
        return self.layer(step)(*args, **kwargs)

    def layer(self, step: Step) -> keras.Layer:
        """The layer for a step: the same one for the same layer and weights."""
        key = (step.op, *map(id, step.weights))
        if key not in self._layers:
            self._layers[key] = self._new_layer(step)
        return self.here(self._layers[key])

    def here(self, layer: keras.Layer) -> keras.Layer:
        """A layer, or a tied use of it if it is called in another graph, too.

        Keras rebuilds a model from its config wrong if a layer was called elsewhere.
        """
        home = self._homes.setdefault(layer, self.graph)
        if home is self.graph:
            return layer
        key = (layer, id(self.graph))
        if key not in self._visits:
            name = f"{layer.name}_tied_{len(self._visits)}"
            self._visits[key] = Tied(layer, private=(), name=name)
        return self._visits[key]

    def _new_layer(self, step: Step) -> keras.Layer:
        if step.matrix is not None:
            return self._new_transposed(step, step.matrix)
        weights = step.weights
        copies = self._copies.setdefault(step.op, [])
        # A matrix that is used transposed must be that of a copy, not of a tie.
        lowest = 2 if any(map(self.graph.is_used_transposed, weights)) else 0
        for known, layer, bare in copies:
            pairs = list(zip(known, weights, strict=True))
            if any(a is b for a, b in pairs if len(a.shape) >= lowest):
                private = _names(
                    step.op, [i for i, (a, b) in enumerate(pairs) if a is not b]
                )
                tied = Tied(layer, private=private, name=step.name)
                self._ties.append((tied, bare, weights))
                return tied
        # In full precision, whatever the policy.
        with rebuilding(copy.bare for copy in self._all_copies()):
            try:
                bare = copy_or_keep(
                    step.op, self._keeps, name=step.name, dtype="float32"
                )
            except NoCopyError as error:
                if step.reason is None:
                    raise
                whole = f"It is copied as a whole, as {step.reason}."
                raise NoCopyError(f"{str(error).rstrip('.')}. {whole}") from error
        if bare is not step.op:
            bare.trainable = step.op.trainable
        copies.append(_Copy(weights, self._wrap(bare, step.op), bare))
        return copies[-1].layer

    def _new_transposed(self, step: Step, matrix: keras.Variable) -> keras.Layer:
        op = step.op
        holder = self._holder(matrix)
        if holder is None:  # the other use comes later, if there is one
            unused = replace(step, op=op.source, name=f"{step.name}_source")
            steps = [s for s in self._whole.all_steps if s.body is None]
            uses = (s for s in steps if any(v is matrix for v in s.weights))
            self.layer(next((s for s in uses if s.matrix is None), unused))
            holder = self._holder(matrix)
            assert holder is not None  # that layer was just copied
        source, part = holder
        bare = op.use_of(source, part=part, name=step.name, dtype="float32")
        layer = self._wrap(bare, op)
        if op.bias is not None:
            owner = layer if isinstance(layer, Transposed) else bare
            self._biases.append((owner, step.stand_ins.of(op.bias)))
        return layer

    def _holder(self, matrix: keras.Variable) -> tuple[keras.Layer, str | None] | None:
        """The copied layer that has a matrix, and the way to what owns it."""
        for known, layer, bare in self._all_copies():
            if any(v is matrix for v in known):
                for holder in (bare, layer):
                    if hasattr(holder, "quantized_layer"):
                        return holder, "layer"
                return bare, None
        return None

    def _all_copies(self) -> list[_Copy]:
        return [copy for copies in self._copies.values() for copy in copies]

    def model(self, outputs: Any) -> keras.Model:
        """The model up to these outputs, with initial weights."""
        return keras.Model(self.inputs, outputs, name=self.graph.name)

    def finish(self, inputs: Any = None, outputs: Any = None) -> keras.Model:
        """The model, with the weights of the graph's layers.

        Args:
            inputs: What it takes; None for the inputs of the graph.
            outputs: What it returns; None for the outputs of the graph.
        """
        if inputs is not None:
            self.inputs = inputs
        model = self.model(outputs or self.resolve(self.graph.outputs))
        for weights, _, bare in self._all_copies():
            for new, old in zip(bare.weights, weights, strict=True):
                # A real copy: JAX gives the buffer of one away when it runs the other.
                new.assign(keras.ops.copy(old.value))
                new.trainable = old.trainable
                new.regularizer = new.regularizer or old.regularizer
                new.constraint = new.constraint or old.constraint
            derive(bare)
        for tied, bare, weights in self._ties:
            values = VariableMap(zip(bare.weights, weights, strict=True))
            for original, private in tied.private_copies:
                private.assign(keras.ops.copy(values[original].value))
        for layer, bias in self._biases:
            assert layer.bias is not None  # its original has one
            layer.bias.assign(keras.ops.copy(bias.value))
        return model


def _runs(op: keras.Operation) -> bool:
    """Whether Keras runs a layer to know the shape of its output."""
    default = keras.Layer.compute_output_shape
    return isinstance(op, keras.Layer) and type(op).compute_output_shape is default


class _Dense(np.ndarray):
    """A constant of a product, which Keras takes for sparse, and the product with it.

    Layers that Keras runs to know the shape of their output can't read that.
    """

    sparse = False


def _dense(x: Any, dtype: str) -> Any:
    if isinstance(x, keras.KerasTensor):
        return x
    value = np.asarray(keras.ops.convert_to_numpy(x), dtype)
    return np.atleast_1d(value).view(_Dense)


def _names(layer: keras.Layer, positions: list[int]) -> list[str] | list[int]:
    """Names of weights by position; the positions where names don't tell them apart.

    Positions are those of the bare layer; layers that get wrapped have unique names.
    """
    names = [v.name for v in layer.weights]
    chosen = [names[i] for i in positions]
    return positions if sum(n in chosen for n in names) > len(chosen) else chosen


def _full_precision(dtype: str) -> str:
    return "float32" if "float" in dtype else dtype
