"""Layers made again by what their constructors take, where `get_config` fails."""

import inspect
from collections.abc import Iterator
from typing import Any

import keras

from keras_share.layers.sublayers import sublayers

_PLAIN = (bool, float, int, str)


def make_again(layer: keras.Layer, changes: dict[str, Any]) -> keras.Layer | None:
    """A new layer, made of the arguments that a layer keeps in its attributes.

    By custom an attribute has the name of the argument, with an underscore or without.
    Classes by the hundred have no `get_config`, or one that names what they lost.

    Args:
        layer: The layer.
        changes: What to pass in place of that.

    Returns:
        The new layer, not built; None if it can't be made, or is not the same in all
        that is a number or a text.
    """
    for arguments in arguments_of(layer):
        fresh = {name: _fresh(value) for name, value in arguments.items()}
        try:
            copy = type(layer)(**{**fresh, **changes})
        except Exception:  # of code of the user's own, which was not meant for this
            continue
        if _equal(layer, copy, set(changes)):
            return copy
    return None


def arguments_of(layer: keras.Layer) -> Iterator[dict[str, Any]]:
    """What may be the arguments: those of base classes among them, then without."""
    found: dict[str, Any] = {}
    own: dict[str, Any] | None = None
    for cls in type(layer).__mro__:
        if cls is keras.Layer:
            break
        if "__init__" not in vars(cls):
            continue
        _, *parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
        for x in parameters:
            kept = getattr(layer, x.name, getattr(layer, f"_{x.name}", x))
            if kept is not x and x.kind is not x.VAR_KEYWORD:
                found.setdefault(x.name, kept)
        passes_on = any(x.kind is x.VAR_KEYWORD for x in parameters)
        if own is None:
            given = {"name": layer.name, "dtype": layer.dtype_policy}
            found = {**given, **found} if passes_on else found
            own = dict(found)
        if not passes_on:
            break
    yield found
    if own is not None and own != found:
        yield own


def _fresh(value: Any) -> Any:
    """An argument for another layer: initializers have seeds."""
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(map(_fresh, value))
    if isinstance(value, keras.initializers.Initializer):
        return value.clone()
    return value


def _equal(layer: keras.Layer, copy: keras.Layer, changed: set[str]) -> bool:
    """Whether two layers are the same as far as the second is made."""
    parts, copies = ({x.name: x for x in sublayers(y)} for y in (layer, copy))
    pairs = [(layer, copy), *((parts[x], copies[x]) for x in parts if x in copies)]
    return all(
        vars(one)[name] == value
        for one, other in pairs
        for name, value in vars(other).items()
        if name in vars(one)
        and name not in {"built", *changed}
        and not name.startswith("_")
        and isinstance(value, _PLAIN)
    )
