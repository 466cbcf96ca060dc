"""`Program`: what a layer runs on given arguments, one level deep.

Calling `layer.call` on symbolic tensors records the layers and operations inside, and
`keras.models.clone_model` walks such a record through its `call_function`. Both are
public, and between them they open composite layers without a list of known ones.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops, tree

from keras_share.layers.substitute import accepts_training

# Their calls run what was recorded when they were made, in training as at inference.
_FUNCTIONAL = (keras.Sequential, keras.Function)


class Program:
    """The layers and operations that `layer.call` runs, in order.

    Args:
        layer: The layer to open.
        args: Positional arguments of the call; symbolic tensors among them.
        kwargs: Keyword arguments, likewise.
        inference: Whether to record what it runs at inference only.

    Raises:
        ValueError: If the layer uses weights outside of the calls of the layers inside,
            or runs other operations in training than at inference.
    """

    def __init__(self, layer: keras.Layer, args: tuple, kwargs: dict, inference: bool):
        # By identity: attention takes one tensor as query, value and key.
        outer = {
            id(x): x
            for x in tree.flatten((args, kwargs))
            if isinstance(x, keras.KerasTensor)
        }
        self.outer = list(outer.values())
        inputs = [fresh_input(x) for x in self.outer]
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
        _check_weights(layer, self.calls)
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
        op = _with_free_size(op)
        outputs = op(*args, **kwargs)
        self.calls.append((op, args, kwargs, outputs))
        return outputs

    def replay(self, call: Callable[[Any, tuple, dict], Any]) -> Any:
        """Runs the program with `call(op, args, kwargs)` in place of each call."""
        env = {id(x): y for x, y in zip(self.inputs, self.outer, strict=True)}

        def resolve(structure):
            return tree.map_structure(lambda x: env.get(id(x), x), structure)

        for op, args, kwargs, outputs in self.calls:
            results = call(op, resolve(args), resolve(kwargs))
            pairs = zip(tree.flatten(outputs), tree.flatten(results), strict=True)
            env.update((id(x), y) for x, y in pairs)
        return resolve(self.outputs)


def fresh_input(
    x: keras.KerasTensor, batch_size: int | None = None, name: str | None = None
) -> keras.KerasTensor:
    """An input like a tensor, with another batch size if one is given."""
    shape = x.shape if batch_size is None else (batch_size, *x.shape[1:])
    return keras.Input(batch_shape=shape, dtype=x.dtype, name=name)


def _with_free_size(op: Any) -> Any:
    """A reshape by sizes as they were read off a tensor of unknown batch size."""
    sizes = None if isinstance(op, keras.Layer) else getattr(op, "newshape", None)
    if isinstance(sizes, (list, tuple)) and list(sizes).count(None) == 1:
        return type(op)(tuple(-1 if size is None else size for size in sizes))
    return op


def _types(calls: list) -> list[type]:
    return [type(op) for op, *_ in calls]


def _check_weights(layer: keras.Layer, calls: list) -> None:
    """Raises ValueError if weights reach the record as values and not as layers.

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
        raise ValueError(f"it uses weights outside of their layers' calls: {unowned}")
    scalars = any(len(v.shape) == 0 for v in layer.weights)
    integers = any("float" not in v.dtype for v in layer.weights)
    for op, args, kwargs, _ in calls:
        for x in tree.flatten((args, kwargs)):
            tensor = ops.is_tensor(x) and not isinstance(x, keras.KerasTensor)
            constant = tensor and (
                (len(x.shape) == 0 and not scalars)
                or (
                    ("float" not in keras.backend.standardize_dtype(x.dtype))
                    and not integers
                )
            )
            tensor = tensor and not constant and not isinstance(layer, _FUNCTIONAL)
            if tensor or isinstance(x, keras.Variable):
                raise ValueError(
                    f"it passes a weight or a constant tensor to {op.name}"
                )
