"""What has been made so far of a model that is being rebuilt.

A layer that uses another one must find it when the model is rebuilt. Keras tells a
layer nothing of the model that it becomes part of, and knows shared layers only in
files; from JSON, from a config and in `clone_model` each layer is made on its own.
Where the layers stand meanwhile are local variables of Keras's functions. These names
are private to Keras, and stand here alone; `tests/layers/test_rebuilding.py` fails when
they change.
"""

import inspect
import sys
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

# By the same places: the one that holds the configs of the layers, and of these the one
# of the layer that is made at present.
_CONFIGS = {
    ("keras.src.models.functional", "functional_from_config"): (
        lambda variables: variables["functional_config"]["layers"],
        "layer_data",
    ),
    ("keras.src.models.sequential", "from_config"): (
        lambda variables: variables["layer_configs"],
        "layer_config",
    ),
}

# How many models out, the name of the layer there, and which of those inside of it
# that have the name and class looked for.
Place = tuple[int, str, int]

_OURS: ContextVar[tuple[list[keras.Operation], ...]] = ContextVar("rebuilt", default=())
_BUSY: ContextVar[tuple[int, ...]] = ContextVar("busy", default=())  # ids of layers


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


def place_of(layer: keras.Layer, user: keras.Layer) -> Place | tuple[()] | None:
    """Where a layer is, outside of its user, in the models that are serialized.

    Returns:
        The place; an empty one if the layer is part of users alone, of which this is
        the first; None if nothing tells.
    """
    models = list(enumerate(_held_by(_MODELS)))
    owned = False
    for depth, model in models:
        for top in _layers(model):
            if any(part is layer for part in sublayers(top, used=False)):
                owned = True
                if not _is_in(top, user):
                    return _place(depth, top, layer)
    if owned or not models:
        return None
    for depth, model in models:
        first = next((x for x in _layers(model) if _is_in(x, layer)), user)
        if not _is_in(first, user):
            return _place(depth, first, layer)
    return ()


def _place(depth: int, top: keras.Layer, layer: keras.Layer) -> Place:
    namesakes = _namesakes(type(layer).__name__, layer.name, top)
    index = next(i for i, part in enumerate(namesakes) if part is layer)
    return depth, top.name, index


def _is_in(top: keras.Layer, layer: keras.Layer) -> bool:
    return any(part is layer for part in sublayers(top))


def find_at(place: Place, class_name: str, name: str) -> list[keras.Layer] | None:
    """The layer at a place; nothing if it isn't made yet, None if none can tell."""
    depth, top_name, index = place
    rebuilds = list(_keras_rebuilds())
    if depth >= len(rebuilds):
        return None  # these models are not those of which the config was made
    # Of a class whose config lacks it, a layer has another name than in the model.
    tops = {id(x): x for name, x in rebuilds[depth] if top_name in (name, x.name)}
    if len(tops) > 1:
        return None
    parts = [x for top in tops.values() for x in _namesakes(class_name, name, top)]
    return parts[index : index + 1]


def _namesakes(class_name: str, name: str, top: keras.Layer) -> list[keras.Layer]:
    return [
        x for x in sublayers(top) if x.name == name and type(x).__name__ == class_name
    ]


def make_first(place: Place | None, name: str) -> bool | None:
    """Makes a layer now that Keras would make later.

    Args:
        place: Where the layer is in the models of which the config was made.
        name: Its name, if there is no such place.

    Returns:
        Whether there is one; None if it is being made already, for which this one is.
    """
    depth, top_name, _ = place or (0, name, 0)
    cloned = _clone_first(top_name)
    if cloned is not False or place is None:
        return cloned
    held = [call for call in _calls() if _VARIABLES.get(call[0]) in call[1]]
    if depth >= len(held) or held[depth][0] not in _CONFIGS:
        return False
    function, variables = held[depth]
    find, current = _CONFIGS[function]
    configs = find(variables)
    for index, config in enumerate(configs):
        if config.get("name", config["config"].get("name")) != top_name:
            continue
        if config is variables[current] or "made" in config["config"]:
            return None
        made = configs[index] = _Made.config_in_place_of(config)
        read = keras.layers.deserialize
        if "module" not in config:  # a `.h5` file
            read = sys.modules[function[0]].saving_utils.model_from_config
        layer = read(config)  # in the scope of the custom objects of the model
        made["config"].update(made=layer, configs=configs, index=index, was=config)
        return True
    return False


@keras.saving.register_keras_serializable(package="keras_share")
class _Made:
    """In a config that Keras reads: a layer that was made before its turn."""

    @staticmethod
    def config_in_place_of(config: dict[str, Any]) -> dict[str, Any]:
        names = ("name", "inbound_nodes")
        kept: dict[str, Any] = {k: config[k] for k in names if k in config}
        name = keras.saving.get_registered_name(_Made)
        kind: dict[str, Any] = {"class_name": name}  # as in `.h5` files
        if "module" in config:
            kind = {"class_name": "_Made", "registered_name": name, "module": __name__}
        return {**kept, **kind, "config": {"made": None}}

    def get_config(self) -> dict[str, Any]:
        """Keras takes no class without it; this one is only read."""
        raise NotImplementedError

    @staticmethod
    def from_config(config: dict[str, Any]) -> keras.Layer:
        # The config is the user's.
        config["configs"][config["index"]] = config["was"]
        return config["made"]


def _clone_first(name: str) -> bool | None:
    """Clones a layer now that `clone_model` would clone later; as `make_first`."""
    cloning: dict[str, Any] = {}
    busy = set(_BUSY.get())
    for place, variables in _calls():
        if place == _CLONES:
            cloning = variables
            busy.add(id(variables["layer"]))
        elif place in _CLONING and cloning:
            for layer in variables[_MODELS[place]].layers:
                if layer.name != name or id(layer) in cloning["cache"]:
                    continue
                if id(layer) in busy:
                    return None
                token = _BUSY.set((*busy, id(layer)))
                try:
                    cloning["cache"][id(layer)] = cloning["clone_function"](layer)
                finally:
                    _BUSY.reset(token)
                return True
    return False


def is_rebuilding() -> bool:
    """Whether a model is being rebuilt, and not a layer alone."""
    return next(_rebuilds(), None) is not None


def is_rebuilt(layer: keras.Layer) -> bool:
    """Whether a layer is part of a model that is being rebuilt."""
    return any(x is layer for layers in _rebuilds() for x in _and_inside(layers))


def _themselves(layers: list[keras.Layer]) -> Iterable[keras.Layer]:
    return layers


def _and_inside(layers: list[keras.Layer]) -> Iterable[keras.Layer]:
    return (part for layer in layers for part in sublayers(layer))


def _rebuilds() -> Iterator[list[keras.Layer]]:
    """The layers that were made so far: one list for each rebuild, innermost first."""
    yield from map(_layers, _OURS.get())
    for named in _keras_rebuilds():
        yield [layer for _, layer in named]


def _keras_rebuilds() -> Iterator[list[tuple[Any, keras.Layer]]]:
    """Likewise, in Keras's functions, each with its name in the model if that tells."""
    for place, variables in _calls():
        if _VARIABLES.get(place) in variables:
            configs = _CONFIGS[place][0](variables) if place in _CONFIGS else ()
            early = ((x.get("name"), x["config"].get("made")) for x in configs)
            made = variables[_VARIABLES[place]]
            named = made.items() if isinstance(made, dict) else ()
            others = ((None, x) for x in ([] if named else _layers(made)))
            yield [
                (name, x)
                for name, x in (*named, *others, *early)
                if isinstance(x, keras.Layer)
            ]


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
