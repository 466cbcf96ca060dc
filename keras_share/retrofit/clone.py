"""`Cloner`: copies a model layer by layer, nested models included."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
from keras import tree

from keras_share.layers.relax.relaxed import Relaxed
from keras_share.layers.substitute import needs_several_inputs
from keras_share.layers.tied import Tied
from keras_share.retrofit.nodes import check_call, is_nested, plain_model


class Cloner:
    """Copies the structure of a model; what becomes of each layer is up to `copy`.

    Args:
        copy: Called once for each layer that is not a nested model, with the name that
            its place has; returns the layer to use there.
    """

    def __init__(self, copy: Callable[[keras.Layer, str], keras.Layer]):
        self._copy = copy
        self._copies: dict[int, Any] = {}

    def __call__(self, op: Any, name: str | None = None) -> Any:
        """What stands for a layer or operation: the same each time."""
        if id(op) not in self._copies:
            if is_nested(op):
                self._copies[id(op)] = self.model(op, name)
            elif isinstance(op, keras.Layer):
                self._copies[id(op)] = self._copy(op, name or op.name)
            else:
                self._copies[id(op)] = type(op).from_config(op.get_config())
        return self._copies[id(op)]

    def model(self, model: keras.Model, name: str | None = None) -> keras.Model:
        """A new model of the copies, not compiled.

        Of the same class where its constructor is that of Keras, else a plain one.
        """
        name = name or model.name
        if isinstance(model, keras.Sequential):
            clone = self._sequential(model, name)
        else:
            clone = self._functional(model, name)
        if not model.trainable:
            clone.trainable = False
        return clone

    def _sequential(self, model: keras.Sequential, name: str) -> keras.Sequential:
        check_call(model, keras.Sequential)
        [x] = model.inputs
        inputs = keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name)
        default = type(model).__init__ is keras.Sequential.__init__
        cls = type(model) if default else keras.Sequential
        return cls([inputs, *map(self, model.layers)], name=name)

    def _functional(self, model: keras.Model, name: str) -> keras.Model:
        clone = keras.models.clone_model(
            plain_model(model, name),
            input_tensors=_inputs(model),
            clone_function=self,
            call_function=_call,
        )
        if type(model).__init__ is type(clone).__init__:
            return type(model)(clone.input, clone.output, name=name)
        return clone


def copy_layer(layer: keras.Layer, name: str) -> keras.Layer:
    """A new layer of the same config but for its name, with weights of its own."""
    config = layer.get_config()
    if "name" in config:
        config["name"] = name
    copy = type(layer).from_config(config)
    if layer.built and needs_several_inputs(layer):
        # A tied use or a stack, which may be called first, can't build it then.
        copy.build_from_config(layer.get_build_config())
    return copy


def _inputs(model: keras.Model) -> Any:
    """New inputs for a copy of a model, in the structure and with the names of its."""
    layers = {
        id(layer.output): layer
        for layer in model.layers
        if isinstance(layer, keras.layers.InputLayer)
    }

    def copy(x: keras.KerasTensor) -> keras.KerasTensor:
        config = layers[id(x)].get_config()
        return keras.layers.InputLayer.from_config(config).output

    return tree.map_structure(copy, model.input)


def _call(layer: Any, *args: Any, **kwargs: Any) -> Any:
    if isinstance(layer, (Relaxed, Tied)) and not args:
        # The layer inside may call its first argument otherwise than `inputs`.
        inside = layer.layer if isinstance(layer, Tied) else layer
        inside = inside.inner_layer() if isinstance(inside, Relaxed) else inside
        first = next(iter(inspect.signature(inside.call).parameters))
        args = (kwargs.pop(first),)
    return layer(*args, **kwargs)
