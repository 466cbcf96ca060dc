"""Configs of layers that use the weights of another layer."""

import warnings
from typing import Any
from weakref import WeakSet

import keras

from keras_share.layers.rebuilding import (
    Place,
    find_at,
    find_rebuilt,
    is_rebuilding,
    is_rebuilt,
    make_first,
    place_of,
)

_UNTIED: WeakSet[keras.Layer] = WeakSet()  # that users have in place of the shared one
_WAY_OUT = (
    "To copy a model with its ties, give its layers names of their own and call "
    "`keras.models.clone_model` with "
    "`clone_function=keras_share.layers.TiedCloner()`, or save and load it."
)


def serialize(layer: keras.Layer, user: keras.Layer) -> dict[str, Any]:
    """The config of a layer that others in the model have, too, in that of a user.

    Raises:
        ValueError: If the user lost the layer that it was tied to.
    """
    if layer in _UNTIED:
        raise ValueError(
            f"A tied layer must be saved with its tie. Received: '{user.name}', which "
            f"lost it when its model was rebuilt, and uses a '{layer.name}' of its "
            f"own. {_WAY_OUT} A copy of this model as it is, untied, is "
            "`keras_share.layers.TiedCloner().model(model)`."
        )
    # Keras marks a shared object from its second serialization on, and adds the mark
    # to the first one's config, of which the file by then holds a copy. So the layer
    # is serialized once more than needed.
    keras.saving.serialize_keras_object(layer)
    config = keras.saving.serialize_keras_object(layer)
    return {**config, "place": place_of(layer, user)}


def deserialize(config: dict[str, Any], user: str) -> keras.Layer:
    """The inverse of `serialize`; warns if the layer can't be the shared one.

    Args:
        config: The config.
        user: Name of the layer that uses this one.
    """
    config = dict(config)
    place = config.pop("place", None)  # not in files of before
    name = config["config"].get("name", config["class_name"])
    in_file = "shared_object_id" in config
    if in_file:
        # Keras finds it, but inside of a nested model, of whose config it marks a copy.
        layer = keras.saving.deserialize_keras_object(config)
        if is_rebuilt(layer):
            return layer
    first_use = place is not None and not place
    found = [] if first_use else _find(place, config["class_name"], name)
    if not found and in_file:
        return layer  # the first of all uses: Keras takes it for the others
    if not found and not first_use and make_first(place, name):
        found = _find(place, config["class_name"], name)
    if len(found) == 1:
        return found[0]
    layer = keras.saving.deserialize_keras_object(config)
    if first_use:
        return layer
    reason = "none of this name was rebuilt before it"
    if "name" not in config["config"]:
        reason = (
            f"the config of the class {config['class_name']} has no name, so that "
            "copies are called otherwise (write a `get_config`)"
        )
    elif found:
        reason = f"{len(found)} of this name were rebuilt"
    warnings.warn(
        f"The copy of '{user}' uses a layer of its own and not the '{name}' that it "
        f"was tied to: {reason}. {_WAY_OUT}",
        stacklevel=3,
    )
    if is_rebuilding():  # else its model is not saved without the tie
        _UNTIED.add(layer)
    return layer


def _find(place: Place | None, class_name: str, name: str) -> list[keras.Layer]:
    found = find_at(place, class_name, name) if place else None
    return find_rebuilt(class_name, name) if found is None else found
