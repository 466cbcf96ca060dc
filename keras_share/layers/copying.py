"""Copies of layers, with weights of their own."""

import tempfile
from typing import Any, TypeVar

import keras

from keras_share.layers.by_reference import config_by_reference, resolved
from keras_share.layers.constructor import make_again
from keras_share.layers.sublayers import sublayers

Op = TypeVar("Op", bound=keras.Operation)


class NoCopyError(ValueError):
    """A layer can't be copied."""


def copy_layer(layer: keras.Layer, **changes: Any) -> keras.Layer:
    """A new layer of the same config, not built.

    Functions and objects of the user's own need not be known to Keras: the copy has the
    same ones. A class without a `get_config` that works does if its attributes have
    the names of what its constructor takes.

    Args:
        layer: The layer to copy.
        **changes: Values of the config that the copy has instead, such as `name`; those
            that the config lacks are left out.

    Raises:
        NoCopyError: If the layer can't be made from its config.
    """
    if isinstance(layer, keras.Model) and (
        type(layer).get_config is keras.Model.get_config
    ):
        # Keras makes one up, with the defaults of the constructor in place of the
        # arguments that were passed; of a layer it knows what was passed.
        cls = type(layer).__name__
        raise NoCopyError(
            "A layer is copied by its config, and a model of a class of its own has "
            f"one only if the class says how: give {cls} a `get_config`, or, for a "
            f"`SharedStack`, pass a function that makes a new block, such as lambda: "
            f"{cls}(...). Received: '{layer.name}' of type {cls}"
        )
    try:
        return _copy(layer, changes)
    except Exception as error:  # whatever code of others raises
        copy = make_again(layer, changes)
        if copy is not None:
            return copy
        raise NoCopyError(
            f"A layer is copied by its config, and '{layer.name}' of type "
            f"{type(layer).__name__} can't be: its `get_config` must return what its "
            "constructor takes, `name`, `trainable` and `dtype` (`**kwargs`) among it. "
            "A `SharedStack` also takes a function that returns a new layer each time."
        ) from error


def copy_or_keep(op: Op, with_weights: bool = False, **changes: Any) -> Op:
    """A copy of a layer or operation; itself if it can't be copied and needn't be.

    Args:
        op: The layer or operation.
        with_weights: Whether a layer with weights can be used as it is.
        **changes: As in `copy_layer`.

    Raises:
        NoCopyError: If it can't be copied, but must be, to have weights of its own or
            other values in its config.
    """
    if not isinstance(op, keras.Layer):
        try:
            return _copy(op, changes)
        except NotImplementedError:  # it was called with functions or objects
            return op
    try:
        return copy_layer(op, **changes)
    except NoCopyError:
        dtype = changes.get("dtype", op.compute_dtype)
        if dtype != op.compute_dtype or (op.variables and not with_weights):
            raise
        return op


def _copy(op: Op, changes: dict[str, Any]) -> Op:
    parts = sublayers(op) if isinstance(op, keras.Layer) else [op]
    # A layer of the user's own inside a wrapper need not be registered.
    inside = {type(part).__name__: type(part) for part in parts}
    with (
        config_by_reference(op) as config,
        keras.saving.custom_object_scope(inside),
    ):
        known = {k: v for k, v in changes.items() if k in config}
        made = type(op).from_config({**resolved(config), **known})
    if isinstance(op, keras.Layer):
        _carry_assets(op, made)
    return made


def _carry_assets(layer: keras.Layer, copy: keras.Layer) -> None:
    """Gives a copy the vocabularies that are neither in the config nor weights."""
    for old, new in zip(sublayers(layer), sublayers(copy), strict=False):
        if type(old) is not type(new):  # the others come into being when it is built
            return
        if hasattr(old, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                old.save_assets(folder)
                new.load_assets(folder)


def derive(layer: keras.Layer) -> None:
    """Lets preprocessing layers derive from their weights what they compute with.

    What was learned from data that is no weight is in the config of a layer.
    """
    for part in sublayers(layer):
        if hasattr(part, "finalize_state") and part.variables:
            part.finalize_state()
