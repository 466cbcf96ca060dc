"""Layers whose operations read weights, opened to these operations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_share.flat.on_tensors import own_weights
from keras_share.flat.tensors import tensors
from keras_share.flat.written import LayerUse, on_symbols
from keras_share.layers.held_weight import HeldWeight
from keras_share.layers.substitute import accepts_training


def value_of(use: LayerUse, weight: keras.Variable, x: Any) -> Any:
    """A weight of a layer as a tensor; `x` is one that the layer reads."""
    return use.call(
        lambda: HeldWeight(weight.shape, name=weight.name), weight.name, x, [weight]
    )


def has_weights_to_read(layer: keras.Operation) -> bool:
    """Whether operations of a layer may read its weights as tensors."""
    if not isinstance(layer, keras.Layer) or accepts_training(layer):
        return False
    own = own_weights(layer)
    if not all("float" in v.dtype for v in own):  # such as places to read from
        return False
    # A seed, or what a layer counts, is no weight.
    return bool(own) and len(layer.variables) == len(layer.weights)


def run_on_values(use: LayerUse, *args: Any, **kwargs: Any) -> Any:
    """What a layer computes, with tensors in place of its weights."""
    layer = use.op
    assert isinstance(layer, keras.Layer)
    [x, *_] = tensors((args, kwargs))
    own = {id(v) for v in own_weights(layer)}
    with _standing_in(layer, own, lambda v: value_of(use, v, x)) as found:
        if found != own:
            use.refuse("its weights are no attributes of it")
        with on_symbols():
            return layer.call(*args, **kwargs)


@contextmanager
def _standing_in(
    layer: keras.Layer, ids: set[int], stand_in: Callable[[keras.Variable], Any]
) -> Iterator[set[int]]:
    """While it lasts, attributes of a layer are tensors where they were weights."""
    attributes = vars(layer)
    before = {
        name: value
        for name, value in attributes.items()
        if isinstance(value, keras.Variable) and id(value) in ids
    }
    made = {id(value): stand_in(value) for value in before.values()}
    try:
        for name, value in before.items():
            attributes[name] = made[id(value)]
        yield set(made)
    finally:
        attributes.update(before)
