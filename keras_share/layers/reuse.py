"""Configs of layers that use the weights of another layer."""

import warnings
from typing import Any

import keras


class _Unshared(dict):
    """The config of a layer as `get_config` returns it, with no mark of sharing.

    Serialization makes a plain dict of it and marks what is shared; who passes it on
    to `from_config` as it is, as `clone_model` does, gets a layer of its own.
    """


def serialize(layer: keras.Layer) -> dict[str, Any]:
    """The config of a layer that others in the model may have, too."""
    # Keras marks a shared object from its second serialization on, and adds the mark
    # to the first one's config, of which the file by then holds a copy. So the layer
    # is serialized once more than needed.
    keras.saving.serialize_keras_object(layer)
    return _Unshared(keras.saving.serialize_keras_object(layer))


def deserialize(config: dict[str, Any], user: str) -> keras.Layer:
    """The inverse of `serialize`; warns if the layer can't be the shared one.

    Args:
        config: The config.
        user: Name of the layer that uses this one.
    """
    if isinstance(config, _Unshared):
        warnings.warn(
            f"The copy of '{user}' uses a new layer and not the one that other layers "
            "of the model share. To clone a model with its ties, pass "
            "`clone_function=keras_share.layers.TiedCloner()` to "
            "`keras.models.clone_model`.",
            stacklevel=3,
        )
    return keras.saving.deserialize_keras_object(config)
