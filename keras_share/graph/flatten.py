"""From a model to the flat list of the leaf operations it runs.

Calling `layer.call` on symbolic tensors records the layers and operations inside, and
`keras.models.clone_model` walks such a record through its `call_function`. Both are
public, and between them they open composite layers without a list of known ones.
"""

from typing import Any

import keras
from keras import tree

from keras_share.graph.flat_graph import FlatGraph, Step
from keras_share.stack import SharedStack
from keras_share.sublayers import sublayers
from keras_share.tied import Tied


def flatten(
    model: keras.Model, batch_size: int | None = None, leaves: tuple[type, ...] = ()
) -> FlatGraph:
    """Lists the leaf operations that a model runs, with what each use has private.

    `SharedStack` and `Tied`, nested models and composite layers are opened. A layer
    that can't be opened (it has weights of its own beside the layers inside, loops
    over time, or fails to run on symbolic tensors) stays a leaf, with the reason.

    Args:
        model: A built Sequential or Functional model.
        batch_size: Batch size of the graph's inputs; None keeps the model's.
        leaves: Classes of layers to leave closed.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model, or
            computes masks implicitly.
    """
    check_model(model)
    flattener = _Flattener(leaves)
    # A Sequential model has `input` only once it was called.
    sequential = isinstance(model, keras.Sequential)
    inputs = tree.map_structure(
        lambda x: _fresh(x, batch_size, name=x.name),
        model.inputs[0] if sequential else model.input,
    )
    outputs = flattener.expand(model, (inputs,), {}, {}, prefix="")
    return FlatGraph(inputs, tuple(flattener.steps), outputs, model.name)


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
    def __init__(self, leaves: tuple[type, ...]):
        # A recurrent layer holds its cell as a layer, but runs it in a loop.
        self.leaves = (keras.layers.RNN, *leaves)
        self.steps: list[Step] = []
        self.names: set[str] = set()

    def expand(
        self,
        op: Any,
        args: tuple,
        kwargs: dict,
        stand_ins: dict[int, keras.Variable],
        prefix: str,
    ) -> Any:
        """Records the leaves that `op` runs on these arguments; returns its outputs."""
        if type(op).__name__ == "ConvertToTensor":  # a nested model begins with one
            return args[0]
        if isinstance(op, self.leaves) or not isinstance(op, keras.Layer):
            return self.record(op, args, kwargs, stand_ins, prefix)
        if isinstance(op, SharedStack):
            kwargs = {k: v for k, v in kwargs.items() if k != "training"}
            x, *rest = args
            for site in op.sites:
                path = _join(prefix, op.name)
                x = self.expand(site, (x, *rest), kwargs, stand_ins, path)
            return x
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
                program = _Program(op, args, kwargs)
            except (
                ValueError,
                TypeError,
                AttributeError,
                NotImplementedError,
            ) as error:
                reason = f"its call fails on symbolic tensors: {error}"
        if reason is not None:
            return self.record(op, args, kwargs, stand_ins, prefix, reason)
        path = _join(prefix, op.name) if self.steps or prefix else ""
        return program.replay(
            lambda inner, a, k: self.expand(inner, a, k, stand_ins, path)
        )

    def record(
        self,
        op: Any,
        args: tuple,
        kwargs: dict,
        stand_ins: dict[int, keras.Variable],
        prefix: str,
        reason: str | None = None,
    ) -> Any:
        outputs = tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, x.dtype),
            op.compute_output_spec(*args, **kwargs),
        )
        variables = op.variables if isinstance(op, keras.Layer) else []
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

    def __init__(self, layer: keras.Layer, args: tuple, kwargs: dict):
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
        outputs = layer.call(*args, **kwargs)
        self.calls: list[tuple[Any, tuple, dict, Any]] = []
        recorded = keras.models.clone_model(
            keras.Model(inputs, outputs),
            clone_function=lambda op: op,
            call_function=self._record,
        )
        self.inputs = recorded.inputs
        self.outputs = tree.pack_sequence_as(outputs, recorded.outputs)

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


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
