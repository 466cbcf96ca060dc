"""`untie`: gives each use of a shared layer weights of its own."""

from collections.abc import Iterable
from typing import Any

import keras

from keras_share.flat.built_model import check_model
from keras_share.layers.relax.relaxed import Relaxed
from keras_share.layers.shared_stack import SharedStack
from keras_share.layers.sublayers import sublayers
from keras_share.layers.tied import Tied
from keras_share.layers.tied_cloner import TiedCloner, warn_of_lost_methods
from keras_share.layers.variable_map import VariableMap
from keras_share.pattern.sharing_pattern import SharingPattern
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
    untier = _Untier()
    untied = untier.model(model)
    for copied in untier.copied:
        carry(*copied)
    warn_of_lost_methods(model, untied)
    return untied


class _Untier(TiedCloner):
    """Copies layers, each `Tied` as a layer of its own.

    Args:
        stand_ins: Pairs of a variable of the layers and what is used in its place.
    """

    def __init__(self, stand_ins: Iterable[tuple[keras.Variable, Any]] = ()):
        super().__init__()
        self.copied: list[tuple[keras.Layer, keras.Layer, list[Any]]] = []
        self._stand_ins = VariableMap(stand_ins)

    def copy(self, layer: keras.Layer, name: str) -> keras.Layer:
        used = self._stand_ins.of
        if isinstance(layer, Tied):
            own = [(v, used(copy)) for v, copy in layer.private_copies]
            return self._copy_with(own, layer.layer, name)
        if isinstance(layer, Relaxed) and not layer.before:
            kernels = [
                (relaxed.kernel.variable, relaxed.replace(self._stand_ins).value())
                for relaxed in layer.relaxed_kernels
            ]
            return self._copy_with(kernels, layer.inner_layer(), name)
        if isinstance(layer, SharedStack):
            return self._copy_of_stack(layer, name)
        if any(isinstance(part, Tied) for part in sublayers(layer)):
            raise ValueError(
                f"The layer '{layer.name}' of type {type(layer).__name__} holds a "
                "`Tied` or a `SharedStack` that only its own code can replace. Untied "
                "are those in Sequential, Functional and nested models."
            )
        copy = super().copy(layer, name)
        self.copied.append((copy, layer, [used(v) for v in layer.weights]))
        return copy

    def _copy_with(
        self, own: list[tuple[keras.Variable, Any]], layer: keras.Layer, name: str
    ) -> keras.Layer:
        untier = _Untier([*self._stand_ins.items(), *own])
        copy = untier(layer, name)
        self.copied += untier.copied
        return copy

    def _copy_of_stack(self, stack: SharedStack, name: str) -> SharedStack:
        config = {**stack.get_config(), "name": name, "relax": None}
        config["block"] = [self(site, site.name) for site in stack.sites]
        config["pattern"] = SharingPattern.unshared(len(stack.sites))
        config["private"] = stack.private
        return type(stack)(**config)
