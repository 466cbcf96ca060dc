"""`TiedCloner`: copies of layers and models, with their ties."""

import warnings
from typing import Any

import keras
from keras import tree

from keras_share.layers.copying import copy_layer, copy_or_keep
from keras_share.layers.rebuilding import rebuilding
from keras_share.layers.sublayers import sublayers
from keras_share.layers.substitute import needs_several_inputs
from keras_share.layers.tied import Tied
from keras_share.layers.transposed import Transposed

# What a class of models may do in its own way, beside `call`.
_METHODS = (
    "compute_loss",
    "compute_metrics",
    "evaluate",
    "fit",
    "predict",
    "predict_step",
    "test_step",
    "train_step",
)


class TiedCloner:
    """Clones the layers of a model, for `keras.models.clone_model`, with their ties.

    Without it a `Tied` or `Transposed` finds its layer by name, which need not be
    enough where models are nested. A cloner remembers what it has cloned. Use a new
    one per model.

    Example:
    >>> import keras, keras_share
    >>> dense = keras.layers.Dense(8)
    >>> model = keras.Sequential([keras.Input((8,)), dense, keras_share.Tied(dense)])
    >>> clone = keras.models.clone_model(
    ...     model, clone_function=keras_share.layers.TiedCloner()
    ... )
    >>> clone.count_params() == model.count_params()
    True
    """

    def __init__(self):
        self._clones: dict[keras.Operation, keras.Operation] = {}

    def __call__(self, op: keras.Operation, name: str | None = None) -> keras.Operation:
        """The clone of a layer or operation: the same one each time."""
        if op not in self._clones:
            if not isinstance(op, keras.Layer):
                self._clones[op] = copy_or_keep(op)
            elif is_graph(op):
                self._clones[op] = self.model(op, name)
            else:
                self._clones[op] = self.copy(op, name or op.name)
        return self._clones[op]

    def copy(self, layer: keras.Layer, name: str) -> keras.Layer:
        """Copies a layer, but for Sequential and Functional models."""
        if isinstance(layer, (Tied, Transposed)):
            return layer.use_of(self(layer.layer), name=name)
        with rebuilding(self._clones.values()):
            copy = copy_or_keep(layer, name=name)
        parts, copies = list(sublayers(layer)), list(sublayers(copy))
        if list(map(type, parts)) == list(map(type, copies)):
            for part, its_copy in zip(parts, copies, strict=True):
                self._clones.setdefault(part, its_copy)
        if layer.built and not copy.built and needs_several_inputs(layer):
            # A tied use or a stack, which may be called first, can't build it then.
            copy.build_from_config(layer.get_build_config())
        return copy

    def model(self, model: keras.Model, name: str | None = None) -> keras.Model:
        """A new Sequential or Functional model of the copies, not compiled.

        Of the same class where its constructor is that of Keras, else a plain one.
        """
        check_graph(model)
        name = name or model.name
        if isinstance(model, keras.Sequential):
            clone = self._sequential(model, name)
        else:
            clone = self._functional(model, name)
        if not model.trainable:
            clone.trainable = False
        return clone

    def _sequential(self, model: keras.Sequential, name: str) -> keras.Sequential:
        # A model that isn't built has no inputs.
        inputs = [
            keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name)
            for x in getattr(model, "inputs", ())
        ]
        default = type(model).__init__ is keras.Sequential.__init__
        cls = type(model) if default else keras.Sequential
        return cls([*inputs, *map(self, model.layers)], name=name)

    def _functional(self, model: keras.Model, name: str) -> keras.Model:
        clone = keras.models.clone_model(
            plain_model(model, name),
            input_tensors=_inputs(model),
            clone_function=self,
            call_function=self.call,
        )
        if type(model).__init__ is type(clone).__init__:
            return type(model)(clone.input, clone.output, name=name)
        return clone

    def call(self, layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        """Calls a clone in the new model."""
        return layer(*args, **kwargs)


def is_graph(op: keras.Operation) -> bool:
    """Whether an operation is a Sequential or Functional model that runs its layers."""
    return is_nested(op) and type(op).call is _plain_class(op).call


def check_graph(model: keras.Model) -> None:
    """Raises ValueError if a Sequential or Functional model computes otherwise."""
    if not is_graph(model):
        raise ValueError(
            f"The model '{model.name}' of type {type(model).__name__} overrides "
            "`call`, so that its layers don't tell what it computes. Build it of "
            "layers alone: `keras.Model(inputs, outputs)`."
        )


def plain_model(model: keras.Model, name: str | None = None) -> keras.Model:
    """The graph of a Functional model, out of its class and not compiled."""
    return keras.Model(model.input, model.output, name=name)


def is_nested(op: keras.Operation) -> bool:
    """Whether an operation of a model is a Sequential or Functional model itself."""
    graph = isinstance(op, (keras.Sequential, keras.Function))
    return graph and isinstance(op, keras.Layer)


def warn_of_lost_methods(model: keras.Model, new: keras.Model) -> None:
    """Tells if a model that was made of another one trains or predicts otherwise."""
    old, cls = type(model), type(new)
    lost = [x for x in _METHODS if getattr(old, x) is not getattr(cls, x)]
    if lost:
        warnings.warn(
            f"The new model of '{model.name}' is a plain one, without the "
            f"{', '.join(f'`{name}`' for name in lost)} of {old.__name__}. If its "
            f"constructor takes inputs and outputs, {old.__name__}(new.input, "
            "new.output) has the layers of the new model and these methods.",
            stacklevel=3,
        )


def _plain_class(model: keras.Model) -> type[keras.Model]:
    sequential = isinstance(model, keras.Sequential)
    return keras.Sequential if sequential else type(plain_model(model))


def _inputs(model: keras.Model) -> Any:
    """New inputs for a copy of a model, in the structure and with the names of its."""
    layers = {
        layer.output: layer
        for layer in model.layers
        if isinstance(layer, keras.layers.InputLayer)
    }
    return tree.map_structure(lambda x: copy_layer(layers[x]).output, model.input)
