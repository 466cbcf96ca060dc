"""Reading `private=`: which variables of a layer each site keeps for itself."""

from collections.abc import Callable, Iterable
from typing import Any

import keras

from keras_share.layers.sublayers import is_normalization, sublayers

NORMALIZATION = "normalization"

Private = str | Iterable[str | int] | Callable[[keras.Variable], bool] | None


def standardize(private: Private) -> tuple[str | int, ...] | Callable | None:
    """Checks the form of a `private` argument and makes it immutable.

    Args:
        private: `"normalization"`, a name of a sublayer or weight, several of them
            (or positions in the layer's `weights`), a predicate on the variable, or
            None.

    Raises:
        ValueError: If it is none of these.
    """
    if private is None or callable(private):
        return private
    names = (private,) if isinstance(private, str) else private
    if not isinstance(names, (list, tuple, set, frozenset)) or not all(
        isinstance(name, (str, int)) for name in names
    ):
        raise ValueError(
            "`private` must be 'normalization', names of sublayers or weights, a "
            "function from a variable to a boolean, or None. "
            f"Received: private={private!r}"
        )
    return tuple(names)


def private_variables(
    layer: keras.Layer, private: tuple[str | int, ...] | Callable | None
) -> list[keras.Variable]:
    """The weights of a built `layer` that a standardized `private` selects.

    Those in `private_weights` of a layer inside are always among them: relaxations are
    there to differ.

    Raises:
        ValueError: If a name is neither that of a sublayer nor of a weight, or no
            weight is at a position.
    """
    parts = list(sublayers(layer))
    chosen = {id(v) for p in parts for v in getattr(p, "private_weights", ())}
    if callable(private):
        chosen.update(id(v) for v in layer.weights if private(v))
        private = None
    for name in private or ():
        if isinstance(name, int):
            if not 0 <= name < len(layer.weights):
                raise ValueError(
                    "A position in `private` must be between 0 and "
                    f"{len(layer.weights) - 1}, the last weight of '{layer.name}'. "
                    f"Received: private={private!r}"
                )
            chosen.add(id(layer.weights[name]))
            continue
        owners = [
            part
            for part in parts
            if part.name == name or (name == NORMALIZATION and is_normalization(part))
        ]
        found = [v for owner in owners for v in owner.weights]
        found += [v for v in layer.weights if v.name == name]
        if not found and name != NORMALIZATION:
            raise ValueError(
                f"`private` names {name!r}, which is neither a sublayer with weights "
                f"nor a weight of the layer '{layer.name}'. Sublayers: "
                f"{sorted({p.name for p in parts[1:] if p.weights})}. Weights: "
                f"{sorted({v.name for v in layer.weights})}. "
                f"Received: private={private!r}"
            )
        chosen.update(id(v) for v in found)
    for part in parts:
        # A tied use inside keeps what is private in copies.
        copies = getattr(part, "private_copies", ())
        chosen.update(id(copy) for v, copy in copies if id(v) in chosen)
    return [v for v in layer.weights if id(v) in chosen]


def serialize(private: tuple[str | int, ...] | Callable | None) -> Any:
    """A JSON form of a standardized `private`; functions must be registered."""
    if callable(private):
        return keras.saving.serialize_keras_object(private)
    return private if private is None else list(private)


def deserialize(config: Any) -> Private:
    """The inverse of `serialize`."""
    if isinstance(config, dict):
        return keras.saving.deserialize_keras_object(config)
    return config
