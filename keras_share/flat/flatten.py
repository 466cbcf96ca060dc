"""From a model to the flat list of the leaf operations it runs."""

import copy
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import keras
from keras import tree

from keras_share.flat.as_layers import on_one_input
from keras_share.flat.built_model import check_numbers, input_structure
from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.kernel_use import write_relaxed
from keras_share.flat.on_tensors import einsum_shape, owner_of
from keras_share.flat.precision import full_precision
from keras_share.flat.program import Program
from keras_share.flat.tensors import fresh_input, replaced, tensors
from keras_share.flat.use import Use, WeightOf
from keras_share.flat.written import LayerUse, Refusal, Written
from keras_share.layers.held_weight import HeldWeight
from keras_share.layers.recurrent import Recurrent
from keras_share.layers.relax.relaxed import Relaxed, RelaxedKernel
from keras_share.layers.shared_stack import SharedStack
from keras_share.layers.sublayers import sublayers
from keras_share.layers.tied import Tied
from keras_share.layers.transposed import Transposed
from keras_share.layers.variable_map import VariableMap

# Of a layer without layers inside: to be opened by its own `call`.
OWN_CALL = object()

OpenWith = Callable[[keras.Operation, tuple, dict], Any]


def flatten(
    model: keras.Model,
    batch_size: int | None = None,
    leaves: tuple[type, ...] = (),
    inference: bool = False,
    open_with: OpenWith | None = None,
    shapes: Sequence[Sequence[int]] | None = None,
) -> FlatGraph:
    """Lists the leaf operations that a model runs, with what each use has private.

    `SharedStack` and `Tied`, nested models and composite layers are opened. A layer
    that can't be opened (it has weights of its own beside the layers inside, loops
    over time, or fails to run on symbolic tensors) stays a leaf, with the reason. A
    `Recurrent` is one step with a graph of its own.

    Args:
        model: A built Sequential or Functional model.
        batch_size: Batch size of the graph's inputs; None keeps the model's.
        leaves: Classes of layers to leave closed.
        inference: Whether the graph is not to be trained. A layer that runs other
            operations in training can be opened then.
        open_with: Called with a layer or operation and the arguments of its call;
            returns a function that writes what it computes (called with a `LayerUse`
            and those arguments), `OWN_CALL`, or None to open it as usual.
        shapes: Shapes of the inputs, in the order of `keras.tree.flatten`, of which
            the sizes are taken that are open in the model; None leaves them open.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model.
        Exception: What a function that `open_with` returned raises.
    """
    check_numbers(model)
    flattener = _Flattener(leaves, inference, open_with)
    structure = input_structure(model)
    given = tree.flatten(structure)
    inputs = tree.pack_sequence_as(
        structure,
        [
            fresh_input(x, batch_size, x.name, shape)
            for x, shape in zip(given, shapes or (None,) * len(given), strict=True)
        ],
    )
    with full_precision():
        outputs = flattener.expand(Use(model, (inputs,), {}, None, VariableMap()))
    if flattener.steps and flattener.steps[0].op is model:
        raise ValueError(
            f"The model '{model.name}' can't be taken apart: "
            f"{flattener.steps[0].reason}. Use weights only inside the layers that own "
            "them."
        )
    return flattener.graph(inputs, outputs, model.name)


class _Flattener:
    def __init__(
        self, leaves: tuple[type, ...], inference: bool, open_with: OpenWith | None
    ):
        self.inference = inference
        self.open_with = open_with or (lambda op, args, kwargs: None)
        # A recurrent layer holds its cell as a layer, but runs it in a loop; a
        # transposed use reads a weight of a layer that has steps of its own.
        self.leaves = (keras.layers.RNN, Transposed, *leaves)
        self.parts: dict[tuple[Hashable, ...], Any] = {}
        self.steps: list[Step] = []
        self.names: set[str] = set()
        # The layers that are open, outermost first, and their first steps.
        self.within: list[tuple[keras.Operation, int]] = []
        self.held: dict[keras.KerasTensor, keras.KerasTensor] = {}
        self.owners: dict[int, keras.Layer] = {}  # by id of a weight
        self.weights: Counter[int] = Counter()
        self.matrices: set[int] = set()

    def graph(self, inputs: Any, outputs: Any, name: str) -> FlatGraph:
        """The steps that were recorded."""
        steps = tuple(self.steps)
        return FlatGraph(inputs, steps, outputs, name, self.weights, self.matrices)

    def expand(self, use: Use) -> Any:
        """Records the leaves that a call runs; returns its outputs."""
        if type(use.op).__name__ == "Add" and isinstance(use.args[-1], WeightOf):
            # In a layer this is a sum; behind an input Keras takes it for a bias.
            use = replace(use, args=use.args[::-1])
        of_layer = on_one_input(use)
        if of_layer is not None:
            return self._write(*of_layer)
        use = self._with_weights(use)
        op, args, kwargs = use.op, use.args, use.kwargs
        if type(op).__name__ == "ConvertToTensor" and _is_identity(op, args):
            return args[0]  # a nested model begins with one
        function = None if use.relaxed else self.open_with(op, args, kwargs)
        if isinstance(op, Recurrent):
            return self._record(use, body=self._body(use, op))
        if function is OWN_CALL:
            return self._open(use, op)
        if function is not None:
            return self._write(use, function)
        if isinstance(op, self.leaves) or not isinstance(op, keras.Layer):
            return self._record(use)
        if not args and "inputs" in kwargs:
            kwargs = dict(kwargs)
            use = replace(use, args=(kwargs.pop("inputs"),), kwargs=kwargs)
        if isinstance(op, (SharedStack, Relaxed, Tied)):
            kwargs = {k: v for k, v in kwargs.items() if k != "training"}
            return self._expand_uses(replace(use, kwargs=kwargs), op)
        if len(list(sublayers(op))) == 1:
            return self._record(use)
        return self._open(use, op)

    def _expand_uses(self, use: Use, op: SharedStack | Relaxed | Tied) -> Any:
        x, *rest = use.args
        if isinstance(op, SharedStack):
            with self._inside(op):
                for site in op.sites:
                    x = self.expand(use.inside(site, args=(x, *rest)))
            return x
        stand_ins = VariableMap(use.stand_ins)
        if isinstance(op, Tied):
            pairs = op.private_copies
            stand_ins.update((v, use.stand_ins.of(copy)) for v, copy in pairs)
            with self._inside(op):
                return self.expand(replace(use, op=op.layer, stand_ins=stand_ins))
        for layer in op.before:
            x = self.expand(use.inside(layer, args=(x,), kwargs={}))
        kernels = op.relaxed_kernels
        stand_ins.update((r.shared, r.replace(use.stand_ins)) for r in kernels)
        layer = op.inner_layer()
        return self.expand(replace(use, op=layer, args=(x, *rest), stand_ins=stand_ins))

    def _write(self, use: Use, function: Callable[..., Any]) -> Any:
        """Records what a function writes in place of a layer."""
        layer_use = LayerUse(use.op, use.stand_ins, self.parts)
        use = replace(use, stand_ins=layer_use.stand_ins)
        return self._open(use, Written(layer_use, function))

    def _open(self, use: Use, layer: keras.Layer) -> Any:
        """Records what a layer runs in place of a call.

        A composite layer that can't be written in this use runs its own `call`.
        """
        try:
            program = Program(layer, use.args, use.kwargs, self.inference)
        except Refusal as refusal:
            if isinstance(layer, Written) and _is_composite(use.op):
                return self._open(use, use.op)
            return self._record(use, f"it can't be opened: {refusal}")
        # The model itself gives no prefix.
        path = "" if use.prefix is None else use.path
        if any(isinstance(use.stand_ins.of(v), RelaxedKernel) for v in program.weights):
            return self._record(use, "it uses a relaxed kernel in a way of its own")
        weights = [
            WeightOf(v, self._owner(layer, v), program.outer[0], alone)
            for v, alone in zip(program.weights, program.of_one_layer, strict=True)
        ]
        with self._inside(use.op):
            outputs = program.replay(
                lambda op, a, k: self.expand(Use(op, a, k, path, use.stand_ins)),
                weights,
            )
            return self._with_weights(
                Use(use.op, (outputs,), {}, path, use.stand_ins)
            ).args[0]

    def _owner(self, layer: keras.Layer, variable: keras.Variable) -> keras.Layer:
        """The layer that has a weight, the same one wherever it is read."""
        found = owner_of(layer, variable)
        return self.owners.setdefault(id(variable), found)

    def _with_weights(self, use: Use) -> Use:
        """A call with tensors for the weights among its arguments."""
        found = {
            x: self._held(use, x)
            for x in tensors((use.args, use.kwargs))
            if isinstance(x, WeightOf)
        }
        if not found:
            return use
        args, kwargs = replaced((use.args, dict(use.kwargs)), found)
        return replace(use, args=args, kwargs=kwargs)

    def _held(self, use: Use, weight: WeightOf) -> Any:
        """The output of a step that has a weight of a layer that is open."""
        if weight not in self.held:
            variable = weight.variable
            key = (weight.owner, "held", id(variable))
            if key not in self.parts:
                self.parts[key] = HeldWeight.of(variable, weight.owner)
            part = self.parts[key]
            stand_ins = VariableMap(use.stand_ins)
            stand_ins[part.weight] = use.stand_ins.of(variable)
            path = f"{use.prefix}.{variable.name}" if use.prefix else variable.name
            held = Use(part, (weight.like,), {}, None, stand_ins)
            self.held[weight] = self._record(held, name=path)
        return self.held[weight]

    @contextmanager
    def _inside(self, op: keras.Operation) -> Iterator[None]:
        self.within.append((op, len(self.names)))
        yield
        self.within.pop()

    def _body(self, use: Use, op: Recurrent) -> FlatGraph:
        """What a loop runs in each of its steps."""
        inputs = [fresh_input(x, name=x.name) for x in op.step.inputs]
        inner = copy.copy(self)
        inner.steps = []
        program = Program(op.step, (inputs,), {}, self.inference)
        outputs = program.replay(
            lambda op, a, k: inner.expand(
                Use(op, a, k, use.prefix or "", use.stand_ins)
            )
        )
        return inner.graph(inputs, outputs, op.name)

    def _record(
        self,
        use: Use,
        reason: str | None = None,
        body: FlatGraph | None = None,
        name: str | None = None,
    ) -> Any:
        """Adds a step, or those of a relaxed kernel; returns the outputs."""
        op, args, relaxed = use.op, use.args, use.relaxed
        if relaxed and relaxed.kernel.layer is not op:
            raise ValueError(
                f"The kernel of '{relaxed.kernel.layer.name}' can't be relaxed in a "
                f"model to be quantized or exported, because of '{op.name}': {reason}. "
                "Leave this part out: relax={'part': ...}"
            )
        if relaxed:
            bias = use.stand_ins.of(getattr(op, "bias", None))
            use = replace(use, kwargs={}, stand_ins=VariableMap())
            return self._write(use, partial(write_relaxed, relaxed, bias))
        spec = op.compute_output_spec(*args, **use.kwargs)
        if isinstance(op, keras.layers.EinsumDense):
            shape = einsum_shape(op, args[0].shape, spec.shape)
            spec = keras.KerasTensor(shape, spec.dtype)
        outputs = tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, x.dtype), spec
        )
        within = tuple((x, len(self.names) - first) for x, first in self.within)
        name = self._unique(name or use.path)
        own = VariableMap() if body else use.own
        step = Step(op, name, args, use.kwargs, outputs, own, within, reason, body)
        self.steps.append(step)
        if body is None:  # else the steps of the body use them
            self.weights.update(map(id, step.weights))
        if step.matrix is not None:
            self.matrices.add(id(step.matrix))
        return outputs

    def _unique(self, name: str) -> str:
        if keras.backend.backend() == "torch":  # it takes no dots in names of weights
            name = name.replace(".", "_")
        candidate, use = name, 1
        while candidate in self.names:
            use += 1
            candidate = f"{name}_{use}"
        self.names.add(candidate)
        return candidate


def _is_composite(op: keras.Operation) -> bool:
    """Whether a layer calls others; recurrent layers call theirs in a loop."""
    is_layer = isinstance(op, keras.Layer) and not isinstance(op, keras.layers.RNN)
    return is_layer and len(list(sublayers(op))) > 1


def _is_identity(op: keras.Operation, args: tuple) -> bool:
    """Whether a conversion changes nothing in a graph of full precision."""
    before, after = args[0].dtype, op.compute_output_spec(*args).dtype
    return before == after or ("float" in before and "float" in after)
