"""From a model to the flat list of the leaf operations it runs.

Calling `layer.call` on symbolic tensors records the layers and operations inside, and
`keras.models.clone_model` walks such a record through its `call_function`. Both are
public, and between them they open composite layers without a list of known ones.
"""

from typing import Any

import keras
from keras import ops, tree

from keras_share.graph.flat_graph import FlatGraph, Step
from keras_share.graph.kernel_use import RelaxedUse, Variants
from keras_share.relax.relaxed import Relaxed, RelaxedKernel
from keras_share.stack import SharedStack
from keras_share.sublayers import sublayers
from keras_share.substitute import accepts_training
from keras_share.tied import Tied
from keras_share.transposed import Transposed

# Their calls run what was recorded when they were made, in training as at inference.
_FUNCTIONAL = (keras.Sequential, keras.Function)


def flatten(
    model: keras.Model,
    batch_size: int | None = None,
    leaves: tuple[type, ...] = (),
    inference: bool = False,
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

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model, or
            computes masks implicitly.
    """
    check_model(model)
    flattener = _Flattener(leaves, inference)
    inputs = tree.map_structure(
        lambda x: _fresh(x, batch_size, name=x.name), input_structure(model)
    )
    outputs = flattener.expand(model, (inputs,), {}, {}, prefix=None)
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
    def __init__(self, leaves: tuple[type, ...], inference: bool):
        self.inference = inference
        # A recurrent layer holds its cell as a layer, but runs it in a loop; a
        # transposed use reads a weight of a layer that has steps of its own.
        self.leaves = (keras.layers.RNN, Transposed, *leaves)
        self.variants = Variants()
        self.steps: list[Step] = []
        self.names: set[str] = set()

    def expand(
        self,
        op: Any,
        args: tuple,
        kwargs: dict,
        stand_ins: dict[int, keras.Variable],
        prefix: str | None,
    ) -> Any:
        """Records the leaves that `op` runs on these arguments; returns its outputs."""
        if type(op).__name__ == "ConvertToTensor" and _is_identity(op, args):
            return args[0]  # a nested model begins with one
        if isinstance(op, self.leaves) or not isinstance(op, keras.Layer):
            return self.record(op, args, kwargs, stand_ins, prefix)
        if not args and "inputs" in kwargs:
            kwargs = dict(kwargs)
            args = (kwargs.pop("inputs"),)
        if isinstance(op, SharedStack):
            kwargs = {k: v for k, v in kwargs.items() if k != "training"}
            x, *rest = args
            for site in op.sites:
                path = _join(prefix, op.name)
                x = self.expand(site, (x, *rest), kwargs, stand_ins, path)
            return x
        if isinstance(op, Relaxed):
            return self._expand_relaxed(op, args, kwargs, stand_ins, prefix)
        if isinstance(op, Tied):
            copies = {id(v): stand_ins.get(id(c), c) for v, c in op.private_copies}
            kwargs = {k: v for k, v in kwargs.items() if k != "training"}
            return self.expand(op.layer, args, kwargs, {**stand_ins, **copies}, prefix)
        if len(list(sublayers(op))) == 1:
            _check_masks(op)
            return self.record(op, args, kwargs, stand_ins, prefix)
        reason = _closed(op)
        if reason is None:
            try:
                program = _Program(op, args, kwargs, self.inference)
            except (
                ValueError,
                TypeError,
                AttributeError,
                NotImplementedError,
            ) as error:
                reason = f"it can't be opened: {error}"
        if reason is not None:
            return self.record(op, args, kwargs, stand_ins, prefix, reason)
        # The model itself has no prefix and gives none.
        path = "" if prefix is None else _join(prefix, op.name)
        return program.replay(
            lambda inner, a, k: self.expand(inner, a, k, stand_ins, path)
        )

    def _expand_relaxed(
        self, op: Relaxed, args: tuple, kwargs: dict, stand_ins: dict, prefix: Any
    ) -> Any:
        x, *rest = args
        for layer in op.before:
            x = self.expand(layer, (x,), {}, stand_ins, _join(prefix, op.name))
        uses = {id(r.shared): r.replace(stand_ins) for r in op.relaxed_kernels}
        kwargs = {k: v for k, v in kwargs.items() if k != "training"}
        stand_ins = {**stand_ins, **uses}
        return self.expand(op.inner_layer(), (x, *rest), kwargs, stand_ins, prefix)

    def _expand_use(
        self,
        op: keras.Layer,
        relaxed: RelaxedKernel,
        args: tuple,
        stand_ins: dict,
        prefix: Any,
        reason: str | None,
    ) -> Any:
        if relaxed.kernel.layer is not op:
            raise ValueError(
                f"The kernel of '{relaxed.kernel.layer.name}' can't be relaxed in a "
                f"model to be quantized or exported, because of '{op.name}': {reason}. "
                "Leave this part out: relax={'part': ...}"
            )
        bias = getattr(op, "bias", None)
        use = RelaxedUse(relaxed, stand_ins.get(id(bias), bias), self.variants)
        program = _Program(use, args, {}, self.inference)
        path = _join(prefix, op.name)
        stand_ins = {**stand_ins, **self.variants.stand_ins}
        return program.replay(
            lambda inner, a, k: self.expand(inner, a, k, stand_ins, path)
        )

    def record(
        self,
        op: Any,
        args: tuple,
        kwargs: dict,
        stand_ins: dict[int, keras.Variable],
        prefix: str | None,
        reason: str | None = None,
    ) -> Any:
        variables = op.variables if isinstance(op, keras.Layer) else []
        for variable in variables:
            relaxed = stand_ins.get(id(variable))
            if isinstance(relaxed, RelaxedKernel):
                return self._expand_use(op, relaxed, args, stand_ins, prefix, reason)
        outputs = tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, x.dtype),
            op.compute_output_spec(*args, **kwargs),
        )
        pairs = tuple((v, stand_ins[id(v)]) for v in variables if id(v) in stand_ins)
        self.steps.append(
            Step(
                op=op,
                name=self._unique(_join(prefix, op.name)),
                args=args,
                kwargs=kwargs,
                outputs=outputs,
                stand_ins=pairs,
                reason=reason,
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


class _Program:
    """What `layer.call` runs on given arguments, one level deep."""

    def __init__(self, layer: keras.Layer, args: tuple, kwargs: dict, inference: bool):
        # By identity: attention takes one tensor as query, value and key.
        outer = {
            id(x): x
            for x in tree.flatten((args, kwargs))
            if isinstance(x, keras.KerasTensor)
        }
        self.outer = list(outer.values())
        inputs = [_fresh(x) for x in self.outer]
        fresh = dict(zip(outer, inputs, strict=True))
        args, kwargs = tree.map_structure(
            lambda x: fresh.get(id(x), x), (args, dict(kwargs))
        )
        self.calls: list[tuple[Any, tuple, dict, Any]] = []
        switched = accepts_training(layer) and not isinstance(layer, _FUNCTIONAL)
        if switched and inference:
            kwargs = {**kwargs, "training": False}
        training = None
        if switched and not inference:
            self._trace(layer, inputs, args, {**kwargs, "training": True})
            training, self.calls = self.calls, []
        recorded, outputs = self._trace(layer, inputs, args, kwargs)
        if training is not None and _types(training) != _types(self.calls):
            raise ValueError("it runs other operations in training")
        _check_weights(layer, self.calls, scalars=inference)
        self.inputs = recorded.inputs
        self.outputs = tree.pack_sequence_as(outputs, recorded.outputs)

    def _trace(
        self, layer: keras.Layer, inputs: list, args: tuple, kwargs: dict
    ) -> tuple[keras.Model, Any]:
        outputs = layer.call(*args, **kwargs)
        recorded = keras.models.clone_model(
            keras.Model(inputs, outputs),
            clone_function=lambda op: op,
            call_function=self._record,
        )
        return recorded, outputs

    def _record(self, op: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = op(*args, **kwargs)
        self.calls.append((op, args, kwargs, outputs))
        return outputs

    def replay(self, call: Any) -> Any:
        """Runs the program with `call(op, args, kwargs)` in place of each call."""
        env = {id(x): y for x, y in zip(self.inputs, self.outer, strict=True)}

        def resolve(structure):
            return tree.map_structure(lambda x: env.get(id(x), x), structure)

        for op, args, kwargs, outputs in self.calls:
            results = call(op, resolve(args), resolve(kwargs))
            pairs = zip(tree.flatten(outputs), tree.flatten(results), strict=True)
            env.update((id(x), y) for x, y in pairs)
        return resolve(self.outputs)


def _types(calls: list) -> list[type]:
    return [type(op) for op, *_ in calls]


def _check_weights(layer: keras.Layer, calls: list, scalars: bool) -> None:
    """Raises ValueError if weights reach the record as values and not as layers.

    Such a value would be a constant of the rebuilt model. Of the tensors in a record
    it can't be told where they came from. A single number, such as attention's
    scale, may pass if `scalars`: what doesn't train may be a constant.
    """
    owned = {
        id(v) for op, *_ in calls if isinstance(op, keras.Layer) for v in op.weights
    }
    unowned = [v.path for v in layer.weights if id(v) not in owned]
    if unowned:
        raise ValueError(f"it uses weights outside of their layers' calls: {unowned}")
    for op, args, kwargs, _ in calls:
        for x in tree.flatten((args, kwargs)):
            variable = isinstance(x, keras.Variable)
            tensor = ops.is_tensor(x) and not isinstance(x, keras.KerasTensor)
            tensor = tensor and not (scalars and len(x.shape) == 0)
            if variable or (tensor and not isinstance(layer, _FUNCTIONAL)):
                raise ValueError(
                    f"it passes a weight or a constant tensor to {op.name}"
                )


def _is_identity(op: Any, args: tuple) -> bool:
    return op.compute_output_spec(*args).dtype == args[0].dtype


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


def _fresh(
    x: keras.KerasTensor, batch_size: int | None = None, name: str | None = None
) -> keras.KerasTensor:
    shape = x.shape if batch_size is None else (batch_size, *x.shape[1:])
    return keras.Input(batch_shape=shape, dtype=x.dtype, name=name)


def _join(prefix: str | None, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
