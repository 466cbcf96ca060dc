"""`untie`: gives each use of a shared layer weights of its own."""

from typing import Any

import keras

from keras_share.flat.flatten import check_model
from keras_share.layers.relax.relaxed import Relaxed
from keras_share.layers.shared_stack import SharedStack
from keras_share.layers.sublayers import sublayers
from keras_share.layers.tied import Tied
from keras_share.layers.transposed import Transposed
from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.retrofit.clone import Cloner, copy_layer
from keras_share.retrofit.fit import carry


def untie(model: keras.Model) -> keras.Model:
    """Makes a model that computes the same and shares nothing.

    Each `Tied` becomes a layer of its own, with the shared and private values that it
    used, and each `SharedStack` an unshared one. Relaxations of kernels become part of
    the kernels. Names stay, so that `untie(share(model, pattern))` has the layers of
    `model`. What a model uses several times without `Tied`, a `Transposed`
    matrix too, is left as it is.
    `model` is not changed, and the result is not compiled.

    Args:
        model: A built Sequential or Functional model, with nested ones or not.

    Returns:
        The new model, with identical outputs.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model, or one of
            its layers holds a `Tied` that only the layer itself can exchange.

    Example:
    >>> import keras, keras_share
    >>> stack = keras_share.SharedStack(keras.layers.Dense(8), "AAA")
    >>> model = keras.Sequential([keras.Input((8,)), stack])
    >>> model.count_params(), keras_share.untie(model).count_params()
    (72, 216)
    """
    check_model(model)
    untier = _Untier({})
    untied = untier.clone.model(model)
    for copied in untier.copied:
        carry(*copied)
    return untied


class _Untier:
    """Copies layers, each `Tied` as a layer of its own.

    Args:
        stand_ins: By id of a variable of the layers: the variable or tensor that is
            used instead.
    """

    def __init__(self, stand_ins: dict[int, Any]):
        self.clone = Cloner(self._copy)
        self.copied: list[tuple[keras.Layer, keras.Layer, list[Any]]] = []
        self._stand_ins = stand_ins

    def _copy(self, layer: keras.Layer, name: str) -> keras.Layer:
        if isinstance(layer, Tied):
            own = {id(v): self._used(copy) for v, copy in layer.private_copies}
            return self._copy_with(own, layer.layer, name)
        if isinstance(layer, Relaxed) and not layer.before:
            kernels = {
                id(relaxed.kernel.variable): relaxed.replace(self._stand_ins).value()
                for relaxed in layer.relaxed_kernels
            }
            return self._copy_with(kernels, layer.inner_layer(), name)
        if isinstance(layer, SharedStack):
            return self._copy_of_stack(layer, name)
        if any(isinstance(part, Tied) for part in sublayers(layer)):
            raise ValueError(
                f"The layer '{layer.name}' of type {type(layer).__name__} holds a "
                "`Tied` or a `SharedStack` that only its own code can replace. Untied "
                "are those in Sequential, Functional and nested models."
            )
        if isinstance(layer, Transposed):
            copy = layer.use_of(self.clone(layer.layer))
        else:
            copy = copy_layer(layer, name)
        self.copied.append((copy, layer, [self._used(v) for v in layer.weights]))
        return copy

    def _copy_with(
        self, stand_ins: dict[int, Any], layer: keras.Layer, name: str
    ) -> keras.Layer:
        untier = _Untier({**self._stand_ins, **stand_ins})
        copy = untier.clone(layer, name)
        self.copied += untier.copied
        return copy

    def _copy_of_stack(self, stack: SharedStack, name: str) -> SharedStack:
        config = {**stack.get_config(), "name": name, "relax": None}
        config["block"] = [self.clone(site, site.name) for site in stack.sites]
        config["pattern"] = SharingPattern.unshared(len(stack.sites))
        config["private"] = stack.private
        return type(stack)(**config)

    def _used(self, variable: keras.Variable) -> Any:
        return self._stand_ins.get(id(variable), variable)
