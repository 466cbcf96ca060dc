"""Copies of layers, with weights of their own."""

from typing import Any

import keras

from keras_share.layers.sublayers import sublayers


def copy_layer(layer: keras.Layer, **changes: Any) -> keras.Layer:
    """A new layer of the same config, not built.

    Args:
        layer: The layer to copy.
        **changes: Values of the config that the copy has instead, such as `name`; those
            that the config lacks are left out.

    Raises:
        ValueError: If the layer can't be made from its config.
    """
    if isinstance(layer, keras.Model) and (
        type(layer).get_config is keras.Model.get_config
    ):
        # Keras makes one up, with the defaults of the constructor in place of the
        # arguments that were passed; of a layer it knows what was passed.
        cls = type(layer).__name__
        raise ValueError(
            "A layer is copied by its config, and a model of a class of its own has "
            f"one only if the class says how: give {cls} a `get_config`, or, for a "
            f"`SharedStack`, pass a function that makes a new block, such as lambda: "
            f"{cls}(...). Received: '{layer.name}' of type {cls}"
        )
    # A layer of the user's own inside a wrapper need not be registered.
    inside = {type(part).__name__: type(part) for part in sublayers(layer)}
    try:
        config = layer.get_config()
        config.update((k, v) for k, v in changes.items() if k in config)
        with keras.saving.custom_object_scope(inside):
            return type(layer).from_config(config)
    except (NotImplementedError, TypeError) as error:
        raise ValueError(
            f"A layer is copied by its config, and '{layer.name}' of type "
            f"{type(layer).__name__} can't be: its `get_config` must return what its "
            "constructor takes, `name`, `trainable` and `dtype` (`**kwargs`) among it. "
            "A `SharedStack` also takes a function that returns a new layer each time."
        ) from error
