"""Which parts of the layers that share stay private to each."""

from typing import Any

import keras

from keras_share.layers import private as private_spec
from keras_share.layers.sublayers import sublayers


def private_of(layer: keras.Layer, private: Any) -> Any:
    """Of what is private everywhere, what a layer has."""
    if private is None or callable(private):
        return private
    return tuple(name for name in private if _has(layer, name)) or None


def _has(layer: keras.Layer, name: str | int) -> bool:
    if isinstance(name, int):
        return -len(layer.weights) <= name < len(layer.weights)
    names = {part.name for part in sublayers(layer)} | {v.name for v in layer.weights}
    return name == private_spec.NORMALIZATION or name in names


def check_private(
    private: private_spec.Private, groups: list[list[keras.Layer]]
) -> None:
    """Raises ValueError unless `private` names what the layers of a group all have.

    Args:
        private: A standardized `private`.
        groups: The layers that share.
    """
    if private is None or callable(private):
        return
    shared = [layer for group in groups for layer in group]
    for name in private:
        having = [layer for layer in shared if _has(layer, name)]
        if not having:
            parts = {part.name for layer in shared for part in sublayers(layer)}
            weights = {v.name for layer in shared for v in layer.weights}
            raise ValueError(
                f"`private` names {name!r}, which no shared layer has. Layers and "
                f"their sublayers: {sorted(parts)}. Weights: {sorted(weights)}. "
                f"Received: private={private!r}"
            )
        for first, *others in groups:
            other = next((x for x in others if x in having), None)
            if other is not None and first not in having:
                raise ValueError(
                    "What `private` names must have the same name in all layers that "
                    f"share. Received: private={private!r}, and '{other.name}' has a "
                    f"part {name!r}, '{first.name}' has none: Keras numbers names that "
                    f"are not given. Name the parts of your layers, "
                    f"`Dense(8, name={name!r})`, or pass positions of weights."
                )
