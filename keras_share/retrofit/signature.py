"""When two layers can share: equal in class, config and shapes of the weights."""

import json
from collections.abc import Iterator
from typing import Any

import keras

from keras_share.layers.by_reference import config_by_reference
from keras_share.layers.constructor import arguments_of

# Who a layer is, where it starts and where it was built: not what it computes.
_INDIFFERENT = {"name", "key", "seed", "build_config", "shared_object_id"}


def signature(layer: keras.Layer) -> str:
    """A text that is equal for two layers if and only if they can share."""
    shapes = [tuple(v.shape) for v in layer.weights]
    config = _config(layer)
    parts = [repr(type(layer)), id(layer) if config is None else config, shapes]
    return json.dumps(parts, sort_keys=True, default=repr)


def difference(a: keras.Layer, b: keras.Layer) -> str | None:
    """What keeps two layers from sharing, in words; None if nothing does."""
    if type(a) is not type(b):
        return f"the class, {type(a).__name__} and {type(b).__name__}"
    configs = [_config(a), _config(b)]
    if None in configs:
        return "the config: their class has no `get_config` that works"
    for key, one, other in _differences(*configs):
        return f"{key!r} in the config, {one!r} and {other!r}"
    for one, other in zip(a.weights, b.weights, strict=False):
        if one.shape != other.shape:
            return f"the shape of '{one.name}', {one.shape} and {other.shape}"
    if len(a.weights) != len(b.weights):
        return f"the number of weights, {len(a.weights)} and {len(b.weights)}"
    return None


def _config(layer: keras.Layer) -> Any:
    """What a layer computes, as plain data; None if it can't tell."""
    try:
        with config_by_reference(layer) as config:
            return _canonical(keras.saving.serialize_keras_object(config), {})
    except Exception:  # of code of the user's own
        config = next(arguments_of(layer))
    try:
        return _canonical(keras.saving.serialize_keras_object(config), {})
    except Exception:  # such a layer equals only itself
        return None


def _canonical(value: Any, names: dict[str, str]) -> Any:
    """A config without names, seeds and initializers.

    The config of a nested model refers to layers by name, in lists: there a name
    becomes the number of the layer.
    """
    if isinstance(value, dict):
        if str(value.get("class_name")).endswith("DTypePolicy"):
            return value["config"]  # a policy is its name
        if isinstance(name := value.get("name"), str):
            names.setdefault(name, f"layer {len(names)}")
        return {
            key: _canonical(item, names)
            for key, item in value.items()
            if key not in _INDIFFERENT and not _is_initializer(key, item)
        }
    if isinstance(value, (list, tuple)):
        return [
            _canonical(names.get(x, x) if isinstance(x, str) else x, names)
            for x in value
        ]
    return value


def _is_initializer(key: str, value: Any) -> bool:
    of_keras = isinstance(value, dict) and value.get("module") == "keras.initializers"
    return of_keras or key.endswith(("initializer", "initializers"))


def _differences(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        a, b = dict(enumerate(a)), dict(enumerate(b))
    if isinstance(a, dict) and isinstance(b, dict):
        for key in {**a, **b}:
            inner = f"{path}.{key}" if path else key
            yield from _differences(a.get(key), b.get(key), inner)
    elif a != b:
        yield path, a, b
