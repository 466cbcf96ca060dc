"""The parts of a block that can share weights on their own."""

import keras

from keras_share.layers.sublayers import sublayers
from keras_share.layers.variable_map import VariableMap


def component_names(layer: keras.Layer) -> list[str]:
    """The names of the parts of a built layer that have weights.

    These are its sublayers, and what a block declares in `components`: a dict from
    the name of a part to the names of the sublayers that it consists of.
    """
    parts = list(sublayers(layer))[1:]
    names = [name for part in (layer, *parts) for name in _declared(part)]
    names += [part.name for part in parts if part.weights]
    return list(dict.fromkeys(names))


def component_weights(layer: keras.Layer, name: str) -> list[keras.Variable]:
    """The weights of a part of a built layer.

    Raises:
        ValueError: If the layer has no part of this name.
    """
    found = _weights_of(layer, name)
    for part in sublayers(layer):
        for inner in _declared(part).get(name, ()):
            found += _weights_of(part, inner)
    if not found:
        raise ValueError(
            f"The layer '{layer.name}' has no part '{name}' with weights. Its parts: "
            f"{component_names(layer)}. Received: '{name}'"
        )
    return found


def components_by_weight(layer: keras.Layer, names: list[str]) -> VariableMap[str]:
    """For each weight of the named parts, the smallest part it is in.

    Raises:
        ValueError: If the layer has no part of one of the names.
    """
    weights = {name: component_weights(layer, name) for name in names}
    owner: VariableMap[str] = VariableMap()
    for name in sorted(weights, key=lambda name: -len(weights[name])):
        owner.update((v, name) for v in weights[name])
    for part in sublayers(layer):
        # What relaxations share beside a kernel goes with it.
        for kernel, extra in getattr(part, "shared_weights", ()):
            if kernel in owner:
                owner[extra] = owner[kernel]
    return owner


def _weights_of(layer: keras.Layer, name: str) -> list[keras.Variable]:
    parts = list(sublayers(layer))[1:]
    return [v for part in parts if part.name == name for v in part.weights]


def _declared(layer: keras.Layer) -> dict[str, tuple[str, ...]]:
    declared = getattr(layer, "components", None)
    return declared if isinstance(declared, dict) else {}
