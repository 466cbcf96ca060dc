"""Layers as they are while what they run is recorded on symbolic tensors."""

import inspect
import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_share.flat.tensors import new_input
from keras_share.layers.relax.kernel import einsum_axes
from keras_share.layers.sublayers import sublayers


def own_weights(layer: keras.Layer) -> list[keras.Variable]:
    """The weights of a layer that no layer inside of it has."""
    inside = [part for part in sublayers(layer) if part is not layer]
    below = {id(v) for part in inside for v in part.weights}
    return [v for v in layer.weights if id(v) not in below]


def owner_of(layer: keras.Layer, variable: keras.Variable) -> keras.Layer:
    """The layer that has a weight itself: `layer` or one inside."""
    return next(
        part
        for part in reversed(list(sublayers(layer)))
        if any(v is variable for v in part.weights)
    )


@contextmanager
def on_tensors(
    layer: keras.Layer, weights: list[keras.Variable], inlined: Iterable[keras.Layer]
) -> Iterator[list[keras.KerasTensor]]:
    """Around the call of a layer: symbolic tensors stand in place of its weights.

    What `call` computes with them becomes part of its record then, as what it computes
    with its input does.

    Args:
        layer: The layer.
        weights: Weights of the layer itself or of those inside.
        inlined: Layers inside whose own `call` is run in place of them.
    """
    # Of a single number an input has an axis, too, as inputs of models must.
    shapes = [tuple(v.shape) or (1,) for v in weights]
    inputs = [
        new_input(shape, v.dtype) for v, shape in zip(weights, shapes, strict=True)
    ]
    stand_ins: dict[int, Any] = {
        id(v): x if len(v.shape) else keras.ops.reshape(x, ())
        for v, x in zip(weights, inputs, strict=True)
    }
    stand_ins.update((id(part), _Inlined(part)) for part in inlined)
    undo: list[Callable[[], None]] = []
    try:
        _take_any_key(undo)
        for i, part in enumerate(sublayers(layer)):
            _exchange(vars(part), stand_ins, undo)
            _mend_specs(part, undo)
            # In a model each needs a name of its own, in a layer not.
            _set(vars(part), "name", f"{part.name}_{i}", undo)
        yield inputs
    finally:
        for step in undo:
            step()


def _exchange(
    attributes: dict[str, Any],
    stand_ins: dict[int, Any],
    undo: list[Callable[[], None]],
) -> None:
    for name, value in list(attributes.items()):
        if name.startswith("_") and id(value) not in stand_ins:
            continue  # what Keras keeps for itself
        new = _exchanged(value, stand_ins)
        if new is not value:
            _set(attributes, name, new, undo)


def _exchanged(value: Any, stand_ins: dict[int, Any]) -> Any:
    """What stands for a value, or for what its containers hold; itself if nothing."""
    if id(value) in stand_ins:
        return stand_ins[id(value)]
    if not isinstance(value, (list, tuple, dict)):
        return value
    parts = list(value.values() if isinstance(value, dict) else value)
    new = [_exchanged(x, stand_ins) for x in parts]
    if all(map(operator.is_, new, parts)):
        return value
    if isinstance(value, dict):
        return dict(zip(value, new, strict=True))
    named: Any = value
    if hasattr(named, "_fields"):  # a named tuple, which TensorFlow wraps
        return named._replace(**dict(zip(named._fields, new, strict=True)))
    return new


def _set(
    attributes: dict[str, Any], name: str, value: Any, undo: list[Callable[[], None]]
) -> None:
    before = attributes[name]
    attributes[name] = value
    undo.append(lambda: attributes.update({name: before}))


def _take_any_key(undo: list[Callable[[], None]]) -> None:
    """Lets `x[None]`, `x[:2]` and `x[...]` be recorded: Keras takes tuples of such."""
    get = keras.KerasTensor.__getitem__

    def get_item(x: keras.KerasTensor, key: Any) -> Any:
        alone = key is None or key is Ellipsis or isinstance(key, slice)
        return get(x, (key,) if alone else key)

    keras.KerasTensor.__getitem__ = get_item
    undo.append(lambda: setattr(keras.KerasTensor, "__getitem__", get))


def _mend_specs(part: keras.Layer, undo: list[Callable[[], None]]) -> None:
    """Lets a layer tell Keras the form of its output in all calls that it takes.

    A subclass may take more arguments than the method that it has from its base, and
    an `EinsumDense` forgets sizes.
    """
    spec, called = part.compute_output_spec, inspect.signature(part.call).parameters
    taken = inspect.signature(spec).parameters
    passes = any(x.kind is x.VAR_KEYWORD for x in taken.values())
    is_default = type(part).compute_output_spec is keras.Layer.compute_output_spec
    is_einsum = isinstance(part, keras.layers.EinsumDense)
    if not is_einsum and (passes or is_default or all(x in taken for x in called)):
        return

    def mended(*args: Any, **kwargs: Any) -> Any:
        if not passes:
            kwargs = {k: v for k, v in kwargs.items() if k in taken or v is not None}
        found = spec(*args, **kwargs)
        if is_einsum and args:
            shape = einsum_shape(part, args[0].shape, found.shape)
            return keras.KerasTensor(shape, found.dtype)
        return found

    vars(part)["compute_output_spec"] = mended
    undo.append(lambda: vars(part).pop("compute_output_spec"))


def einsum_shape(
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


class _Inlined:
    """A layer whose call is recorded as that of the layer around it.

    Keras records no call that returns other things than tensors.
    """

    def __init__(self, layer: keras.Layer):
        self._layer = layer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._layer.call(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)


class Reads(keras.StatelessScope):
    """Around code that runs on symbolic tensors: notes which weights it reads.

    Those that layers inside read when they are called are not among them.
    """

    def __init__(self, weights: list[keras.Variable]):
        super().__init__()
        self._weights = {id(v): v for v in weights}
        self.found: list[keras.Variable] = []

    def get_current_value(self, variable: keras.Variable) -> None:
        if id(variable) in self._weights:
            self.found.append(variable)
        return super().get_current_value(variable)
