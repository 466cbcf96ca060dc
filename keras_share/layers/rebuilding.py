"""What has been made so far of a model that is being rebuilt.

A layer that uses another one must find it when the model is rebuilt. Keras tells a
layer nothing of the model that it becomes part of, and knows shared layers only in
files; from JSON, from a config and in `clone_model` each layer is made on its own.
Where the layers stand meanwhile are local variables of Keras's functions. These names
are private to Keras, and stand here alone; `tests/layers/test_rebuilding.py` fails when
they change.
"""

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras

from keras_share.layers.sublayers import sublayers

_CLONES = ("keras.src.models.cloning", "wrapped_clone_function")
# By module and function: the variable that holds the new layers.
_VARIABLES = {
    ("keras.src.models.functional", "functional_from_config"): "created_layers",
    ("keras.src.models.sequential", "from_config"): "model",
    _CLONES: "cache",
}
_CLONING = (
    ("keras.src.models.cloning", "_clone_functional_model"),
    ("keras.src.models.cloning", "_clone_sequential_model"),
)
# Likewise: the one that holds the model that is cloned, or of which a config is made.
_MODELS = {
    ("keras.src.models.functional", "get_config"): "self",
    ("keras.src.models.sequential", "get_config"): "self",
    **dict.fromkeys(_CLONING, "model"),
}

# How many models out, the name of the layer there, and which of those inside of it
# that have the name and class looked for.
Place = tuple[int, str, int]

_OURS: ContextVar[tuple[list[keras.Operation], ...]] = ContextVar("rebuilt", default=())


@contextmanager
def rebuilding(layers: Iterable[keras.Operation]) -> Iterator[None]:
    """Around the making of a layer that may use one of these layers."""
    token = _OURS.set((list(layers), *_OURS.get()))
    try:
        yield
    finally:
        _OURS.reset(token)


def find_rebuilt(class_name: str, name: str) -> list[keras.Layer]:
    """The layers of this name in the models that are being rebuilt.

    Innermost first, and those of models before those inside of their layers. Names are
    unique in a model, but inside of its layers they need not be.
    """
    rebuilds = list(_rebuilds())
    for depth in (_themselves, _and_inside):
        for layers in rebuilds:
            named = {
                id(x): x
                for x in depth(layers)
                if x.name == name and type(x).__name__ == class_name
            }
            if named:
                return list(named.values())
    return []


def place_of(layer: keras.Layer, user: keras.Layer) -> Place | None:
    """Where a layer is, outside of its user, in the models that are serialized."""
    for depth, model in enumerate(_held_by(_MODELS)):
        for top in _layers(model):
            if any(part is user for part in sublayers(top)):
                continue
            for index, part in enumerate(
                _namesakes(type(layer).__name__, layer.name, top)
            ):
                if part is layer:
                    return depth, top.name, index
    return None


def find_at(place: Place, class_name: str, name: str) -> list[keras.Layer] | None:
    """The layer at a place; nothing if it isn't made yet, None if none can tell."""
    depth, top_name, index = place
    rebuilds = [_layers(found) for found in _held_by(_VARIABLES)]
    if depth >= len(rebuilds):
        return None  # these models are not those of which the config was made
    tops = {id(x): x for x in rebuilds[depth] if x.name == top_name}
    if len(tops) > 1:
        return None
    parts = [x for top in tops.values() for x in _namesakes(class_name, name, top)]
    return parts[index : index + 1]


def _namesakes(class_name: str, name: str, top: keras.Layer) -> list[keras.Layer]:
    return [
        x for x in sublayers(top) if x.name == name and type(x).__name__ == class_name
    ]


def clone_first(name: str) -> bool:
    """Clones a layer now that `clone_model` would clone later; whether there is one."""
    cloning: dict[str, Any] = {}
    for place, variables in _calls():
        if place == _CLONES:
            cloning = variables
        elif place in _CLONING and cloning:
            for layer in variables[_MODELS[place]].layers:
                if layer.name == name and id(layer) not in cloning["cache"]:
                    cloning["cache"][id(layer)] = cloning["clone_function"](layer)
                    return True
    return False


def is_rebuilt(layer: keras.Layer) -> bool:
    """Whether a layer is part of a model that is being rebuilt."""
    return any(x is layer for layers in _rebuilds() for x in _and_inside(layers))


def _themselves(layers: list[keras.Layer]) -> Iterable[keras.Layer]:
    return layers


def _and_inside(layers: list[keras.Layer]) -> Iterable[keras.Layer]:
    return (part for layer in layers for part in sublayers(layer))


def _rebuilds() -> Iterator[list[keras.Layer]]:
    """The layers that were made so far: one list for each rebuild, innermost first."""
    for layers in _OURS.get():
        yield _layers(layers)
    for found in _held_by(_VARIABLES):
        yield _layers(found)


def _held_by(names: dict[tuple[str, str], str]) -> Iterator[Any]:
    """The values of such variables in the calls that run, innermost first."""
    for place, variables in _calls():
        if place in names and names[place] in variables:
            yield variables[names[place]]


def _calls() -> Iterator[tuple[tuple[str, str], Any]]:
    """The calls that run, innermost first: module and function, local variables."""
    frame = inspect.currentframe()
    while frame is not None:
        place = (frame.f_globals.get("__name__", ""), frame.f_code.co_name)
        if place in _VARIABLES or place in _MODELS:
            yield place, frame.f_locals
        frame = frame.f_back


def _layers(found: Any) -> list[keras.Layer]:
    if isinstance(found, keras.Model):
        found = found.layers
    elif isinstance(found, dict):
        found = found.values()
    return [x for x in found if isinstance(x, keras.Layer)]
