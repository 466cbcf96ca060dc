"""From a model to the flat list of the leaf operations it runs."""

import re
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
from keras import tree

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.kernel_use import write_relaxed
from keras_share.flat.precision import full_precision
from keras_share.flat.program import Program
from keras_share.flat.tensors import fresh_input
from keras_share.flat.written import LayerUse, Refusal, Written
from keras_share.layers.relax.kernel import einsum_axes
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
) -> FlatGraph:
    """Lists the leaf operations that a model runs, with what each use has private.

    `SharedStack` and `Tied`, nested models and composite layers are opened. A layer
    that can't be opened (it has weights of its own beside the layers inside, loops
    over time, or fails to run on symbolic tensors) stays a leaf, with the reason.

    Args:
        model: A built Sequential or Functional model.
        batch_size: Batch size of the graph's inputs; None keeps the model's.
        leaves: Classes of layers to leave closed.
        inference: Whether the graph is not to be trained. A layer that runs other
            operations in training can be opened then.
        open_with: Called with a layer or operation and the arguments of its call;
            returns a function that writes what it computes (called with a `LayerUse`
            and those arguments), `OWN_CALL`, or None to open it as usual.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model, or
            computes masks implicitly.
        Exception: What a function that `open_with` returned raises.
    """
    check_model(model)
    flattener = _Flattener(leaves, inference, open_with)
    inputs = tree.map_structure(
        lambda x: fresh_input(x, batch_size, name=x.name), input_structure(model)
    )
    with full_precision():
        outputs = flattener.expand(model, (inputs,), {}, VariableMap(), prefix=None)
    if flattener.steps and flattener.steps[0].op is model:
        raise ValueError(
            f"The model '{model.name}' can't be taken apart: "
            f"{flattener.steps[0].reason}. Use weights only inside the layers that own "
            "them."
        )
    return FlatGraph(inputs, tuple(flattener.steps), outputs, model.name)


def input_structure(model: keras.Model) -> Any:
    """The inputs of a model as it takes them: one, or a structure of several."""
    # A Sequential model has `input` only once it was called.
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def check_model(model: Any) -> None:
    """Raises ValueError unless `model` is a built Sequential or Functional model."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"A Keras model is needed. Received: {model!r} of type {type(model)}"
        )
    try:
        inputs = model.inputs
        outputs = model.outputs
    except AttributeError:
        inputs = outputs = None
    if not inputs or not outputs:
        kind = "has no inputs and outputs to walk between"
        if isinstance(model, keras.Sequential):
            kind = "is not built: add a `keras.Input` as its first layer"
        raise ValueError(
            "A built Sequential or Functional model is needed. The model "
            f"'{model.name}' of type {type(model).__name__} {kind}. A subclassed model "
            "can be wrapped: `x = keras.Input(...); keras.Model(x, model(x))`."
        )


class _Flattener:
    def __init__(
        self, leaves: tuple[type, ...], inference: bool, open_with: OpenWith | None
    ):
        self.inference = inference
        self.open_with = open_with or (lambda op, args, kwargs: None)
        # A recurrent layer holds its cell as a layer, but runs it in a loop; a
        # transposed use reads a weight of a layer that has steps of its own.
        self.leaves = (keras.layers.RNN, Transposed, *leaves)
        self.parts: dict[tuple[Hashable, ...], keras.Layer] = {}
        self.steps: list[Step] = []
        self.names: set[str] = set()
        # The layers that are open, outermost first, and their first steps.
        self.within: list[tuple[keras.Operation, int]] = []

    def expand(
        self,
        op: keras.Operation,
        args: tuple,
        kwargs: dict,
        stand_ins: VariableMap,
        prefix: str | None,
    ) -> Any:
        """Records the leaves that `op` runs on these arguments; returns its outputs.

        A use of a relaxed kernel has a `RelaxedKernel` among the stand-ins.
        """
        if type(op).__name__ == "ConvertToTensor" and _is_identity(op, args):
            return args[0]  # a nested model begins with one
        relaxed = any(_relaxed(op, stand_ins))
        function = None if relaxed else self.open_with(op, args, kwargs)
        if function is OWN_CALL:
            return self._open(op, op, args, kwargs, stand_ins, prefix)
        if function is not None:
            use = LayerUse(op, stand_ins, self.parts)
            written = Written(use, function)
            return self._open(op, written, args, kwargs, use.stand_ins, prefix)
        if isinstance(op, self.leaves) or not isinstance(op, keras.Layer):
            return self.record(op, args, kwargs, stand_ins, prefix)
        if not args and "inputs" in kwargs:
            kwargs = dict(kwargs)
            args = (kwargs.pop("inputs"),)
        if isinstance(op, (SharedStack, Relaxed, Tied)):
            kwargs = {k: v for k, v in kwargs.items() if k != "training"}
            return self._expand_uses(op, args, kwargs, stand_ins, prefix)
        if len(list(sublayers(op))) == 1:
            _check_masks(op)
            return self.record(op, args, kwargs, stand_ins, prefix)
        if reason := _closed(op):
            return self.record(op, args, kwargs, stand_ins, prefix, reason)
        return self._open(op, op, args, kwargs, stand_ins, prefix)

    def _expand_uses(
        self,
        op: SharedStack | Relaxed | Tied,
        args: tuple,
        kwargs: dict,
        stand_ins: VariableMap,
        prefix: str | None,
    ) -> Any:
        x, *rest = args
        if isinstance(op, SharedStack):
            with self._inside(op):
                for site in op.sites:
                    path = _path(prefix, op)
                    x = self.expand(site, (x, *rest), kwargs, stand_ins, path)
            return x
        own = VariableMap(stand_ins)
        if isinstance(op, Tied):
            own.update((v, stand_ins.of(copy)) for v, copy in op.private_copies)
            with self._inside(op):
                return self.expand(op.layer, args, kwargs, own, prefix)
        for layer in op.before:
            x = self.expand(layer, (x,), {}, stand_ins, _path(prefix, op))
        own.update((r.shared, r.replace(stand_ins)) for r in op.relaxed_kernels)
        return self.expand(op.inner_layer(), (x, *rest), kwargs, own, prefix)

    def _open(
        self,
        op: keras.Operation,
        layer: keras.Layer,
        args: tuple,
        kwargs: dict,
        stand_ins: VariableMap,
        prefix: str | None,
    ) -> Any:
        """Records what a layer runs in place of the layer, or of what it writes."""
        try:
            program = Program(layer, args, kwargs, self.inference)
        except Refusal as refusal:
            reason = f"it can't be opened: {refusal}"
            return self.record(op, args, kwargs, stand_ins, prefix, reason)
        # The model itself has no prefix and gives none.
        path = "" if prefix is None else _path(prefix, op)
        with self._inside(op):
            return program.replay(
                lambda inner, a, k: self.expand(inner, a, k, stand_ins, path)
            )

    @contextmanager
    def _inside(self, op: keras.Operation) -> Iterator[None]:
        self.within.append((op, len(self.steps)))
        yield
        self.within.pop()

    def _open_relaxed(
        self,
        op: keras.Layer,
        relaxed: RelaxedKernel,
        args: tuple,
        stand_ins: VariableMap,
        prefix: str | None,
        reason: str | None,
    ) -> Any:
        if relaxed.kernel.layer is not op:
            raise ValueError(
                f"The kernel of '{relaxed.kernel.layer.name}' can't be relaxed in a "
                f"model to be quantized or exported, because of '{op.name}': {reason}. "
                "Leave this part out: relax={'part': ...}"
            )
        bias = getattr(op, "bias", None)
        function = partial(write_relaxed, relaxed, stand_ins.of(bias))
        use = LayerUse(op, VariableMap(), self.parts)
        written = Written(use, function)
        return self._open(op, written, args, {}, use.stand_ins, prefix)

    def record(
        self,
        op: keras.Operation,
        args: tuple,
        kwargs: dict,
        stand_ins: VariableMap,
        prefix: str | None,
        reason: str | None = None,
    ) -> Any:
        """Adds a step, or the steps of a relaxed kernel; returns its outputs."""
        for relaxed in _relaxed(op, stand_ins):
            return self._open_relaxed(op, relaxed, args, stand_ins, prefix, reason)
        spec = op.compute_output_spec(*args, **kwargs)
        if isinstance(op, keras.layers.EinsumDense):
            shape = _einsum_shape(op, args[0].shape, spec.shape)
            spec = keras.KerasTensor(shape, spec.dtype)
        outputs = tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, x.dtype), spec
        )
        own = ((v, stand_ins[v]) for v in _variables(op) if v in stand_ins)
        within = ((layer, len(self.steps) - first) for layer, first in self.within)
        name = self._unique(_path(prefix, op))
        self.steps.append(
            Step(
                op, name, args, kwargs, outputs, VariableMap(own), tuple(within), reason
            )
        )
        return outputs

    def _unique(self, name: str) -> str:
        candidate, use = name, 1
        while candidate in self.names:
            use += 1
            candidate = f"{name}_{use}"
        self.names.add(candidate)
        return candidate


def _variables(op: keras.Operation) -> list[keras.Variable]:
    return op.variables if isinstance(op, keras.Layer) else []


def _relaxed(op: keras.Operation, stand_ins: VariableMap) -> Iterator[RelaxedKernel]:
    """The kernels of a layer that are relaxed in this use."""
    found = (stand_ins.get(v) for v in _variables(op))
    return (kernel for kernel in found if isinstance(kernel, RelaxedKernel))


def _einsum_shape(
    layer: keras.layers.EinsumDense, taken: tuple, given: tuple
) -> tuple[int | None, ...]:
    """The shape of an output, of which Keras forgets the sizes that it has as input."""
    inputs, _, outputs = einsum_axes(layer)
    sizes = dict(zip(reversed(inputs), reversed(taken), strict=False))
    letters = ["", *outputs.replace("...", "")][-len(given) :]
    return tuple(
        sizes.get(letter) if size is None and "." not in inputs else size
        for letter, size in zip(letters, given, strict=True)
    )


def _is_identity(op: keras.Operation, args: tuple) -> bool:
    """Whether a conversion changes nothing in a graph of full precision."""
    before, after = args[0].dtype, op.compute_output_spec(*args).dtype
    return before == after or ("float" in before and "float" in after)


def _closed(layer: keras.Layer) -> str | None:
    """Why a layer with layers inside can't be opened, or None."""
    inside = [part for part in sublayers(layer) if part is not layer]
    below = {id(v) for part in inside for v in part.weights}
    own = [v.name for v in layer.weights if id(v) not in below]
    if own:
        return f"it has weights of its own beside the layers inside: {own}"
    return None


def _check_masks(layer: keras.Layer) -> None:
    if isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False):
        raise ValueError(
            f"The layer '{layer.name}' computes a mask that travels beside the "
            "tensors, which operations outside of layers drop. Pass masks explicitly "
            "instead (`padding_mask=` or `attention_mask=`), with `mask_zero=False`."
        )


def _path(prefix: str | None, op: keras.Operation) -> str:
    # Operations are numbered through the process: the same model would have other
    # names each time.
    name = op.name if isinstance(op, keras.Layer) else re.sub(r"_\d+$", "", op.name)
    return f"{prefix}.{name}" if prefix else name
