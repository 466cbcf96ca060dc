"""`Program`: what a layer runs on given arguments, one level deep.

Calling `layer.call` on symbolic tensors records the layers and operations inside, and
`keras.models.clone_model` walks such a record through its `call_function`. Both are
public, and between them they open composite layers without a list of known ones.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import keras
from keras import ops, tree

from keras_share.flat.tensors import corresponding, fresh_input, replaced, tensors
from keras_share.flat.written import Refusal, Written, on_symbols
from keras_share.layers.substitute import accepts_training

# What operations call the sizes of their outputs.
_SIZES = ("shape", "repeats", "newshape")
# Their calls run what was recorded when they were made, in training as at inference.
_FUNCTIONAL = (keras.Sequential, keras.Function)


class Call(NamedTuple):
    """A call in a record."""

    op: keras.Operation
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any


def record(model: keras.Model) -> tuple[keras.Model, list[Call]]:
    """Runs a Functional model on new inputs; returns that run and its calls."""
    calls: list[Call] = []

    def call(op: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        op = _with_free_size(op)
        outputs = op(*args, **kwargs)
        calls.append(Call(op, args, kwargs, outputs))
        return outputs

    run = keras.models.clone_model(
        model, clone_function=lambda op: op, call_function=call
    )
    return run, calls


class Program:
    """The layers and operations that `layer.call` runs, in order.

    Args:
        layer: The layer to open.
        args: Positional arguments of the call; symbolic tensors among them.
        kwargs: Keyword arguments, likewise.
        inference: Whether to record what it runs at inference only.

    Raises:
        Refusal: If its own `call` fails on symbolic tensors, uses weights outside of
            the calls of the layers inside, or runs other operations in training than at
            inference.
    """

    def __init__(self, layer: keras.Layer, args: tuple, kwargs: dict, inference: bool):
        # Each once: attention takes one tensor as query, value and key.
        self.outer = list(dict.fromkeys(tensors((args, kwargs))))
        inputs = [fresh_input(x) for x in self.outer]
        fresh = dict(zip(self.outer, inputs, strict=True))
        args, kwargs = replaced((args, dict(kwargs)), fresh)
        training = None
        if accepts_training(layer) and not isinstance(layer, _FUNCTIONAL):
            if inference:
                kwargs = {**kwargs, "training": False}
            else:
                switched = {**kwargs, "training": True}
                _, training, _ = _trace(layer, inputs, args, switched)
        run, self.calls, outputs = _trace(layer, inputs, args, kwargs)
        if training is not None and _types(training) != _types(self.calls):
            raise Refusal("it runs other operations in training")
        _check_weights(layer, self.calls)
        self.inputs = run.inputs
        self.outputs = tree.pack_sequence_as(outputs, run.outputs)

    def replay(self, call: Callable[[keras.Operation, tuple, dict], Any]) -> Any:
        """Runs the program with `call(op, args, kwargs)` in place of each call."""
        env = dict(zip(self.inputs, self.outer, strict=True))
        for op, args, kwargs, outputs in self.calls:
            results = call(op, replaced(args, env), replaced(kwargs, env))
            env.update(corresponding(outputs, results))
        return replaced(self.outputs, env)


def _trace(
    layer: keras.Layer, inputs: list[keras.KerasTensor], args: tuple, kwargs: dict
) -> tuple[keras.Model, list[Call], Any]:
    with nullcontext() if isinstance(layer, Written) else on_symbols():
        outputs = layer.call(*args, **kwargs)
        return *record(keras.Model(inputs, outputs)), outputs


def _with_free_size(op: keras.Operation) -> keras.Operation:
    """A reshape by sizes as they were read off a tensor of unknown batch size."""
    sizes = None if isinstance(op, keras.Layer) else getattr(op, "newshape", None)
    if isinstance(sizes, (list, tuple)) and list(sizes).count(None) == 1:
        return type(op)(tuple(-1 if size is None else size for size in sizes))
    return op


def _types(calls: list[Call]) -> list[type]:
    return [type(call.op) for call in calls]


def _check_weights(layer: keras.Layer, calls: list[Call]) -> None:
    """Refuses weights that reach the record as values and not as layers.

    Such a value would be a constant of the rebuilt model. Of the tensors in a record
    it can't be told where they came from: what could be a weight, or be computed from
    one, is refused. Single numbers (attention's scale) and integers (its causal mask)
    are, if no weight of the layer is of that kind.
    """
    owned = {
        id(v) for op, *_ in calls if isinstance(op, keras.Layer) for v in op.weights
    }
    unowned = [v.path for v in layer.weights if id(v) not in owned]
    if unowned:
        raise Refusal(f"it uses weights outside of their layers' calls: {unowned}")
    op = layer.use.op if isinstance(layer, Written) else layer
    can_have = isinstance(op, keras.Layer) and bool(op.variables)
    scalars = any(len(v.shape) == 0 for v in layer.weights)
    integers = any("float" not in v.dtype for v in layer.weights)

    def may_be_weight(x: Any) -> bool:
        if isinstance(x, keras.KerasTensor) or not ops.is_tensor(x):
            return False
        if isinstance(layer, _FUNCTIONAL) or (len(x.shape) == 0 and not scalars):
            return False
        if not can_have:
            return False
        return "float" in keras.backend.standardize_dtype(x.dtype) or integers

    for op, args, kwargs, _ in calls:
        if not isinstance(op, keras.Layer) and any(
            None in keras.tree.flatten(getattr(op, name, ())) for name in _SIZES
        ):
            raise Refusal(f"it passes the size of a batch, which is open, to {op.name}")
        for x in tree.flatten((args, kwargs)):
            if isinstance(x, keras.Variable) and isinstance(layer, Written):
                raise ValueError(
                    f"The rule for '{layer.use.op.name}' passes its weight '{x.name}' "
                    f"to {op.name} as a value, which would become a constant. Pass it "
                    "to `use.affine`, `use.dense` or `use.call`."
                )
            if isinstance(x, keras.Variable) or may_be_weight(x):
                raise Refusal(f"it passes a weight or a constant tensor to {op.name}")
