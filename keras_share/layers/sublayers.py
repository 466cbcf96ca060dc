"""Finding the layers inside a layer."""

from collections.abc import Iterator
from typing import Any

import keras


class Untracked:
    """Holds something in an attribute of a layer, unseen by Keras."""

    def __init__(self, value: Any):
        self.value = value


def sublayers(layer: keras.Layer, used: bool = True) -> Iterator[keras.Layer]:
    """Yields `layer` and every layer below it, each once, parents first.

    Keras lists the layers of a model only, not those of a composite layer. A layer
    holds its parts in attributes or in lists, tuples and dicts of them, so that is
    where to look.

    Args:
        layer: The layer.
        used: Whether what a `Tied` or `Transposed` uses counts as below it.
    """
    seen: set[int] = set()
    stack: list[Any] = [layer]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            children = list(item.values())
        elif isinstance(item, (list, tuple, set)):
            children = list(item)
        elif isinstance(item, keras.Layer):
            uses = hasattr(item, "use_of")
            children = [] if uses and not used else list(vars(item).values())
        elif isinstance(item, Untracked):
            children = [item.value]
        else:
            continue
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, keras.Layer):
            yield item
        stack.extend(reversed(children))


def is_normalization(layer: keras.Layer) -> bool:
    """Whether a layer normalizes activations, by the name of its class.

    By name, not by a list of Keras's classes, so that a library's own count too
    (`LlamaLayerNorm`, `GemmaRMSNormalization`). Wrappers (`SpectralNormalization`)
    act on the weights of another layer and don't count.
    """
    names = (cls.__name__ for cls in type(layer).__mro__)
    return not isinstance(layer, keras.layers.Wrapper) and any(
        name.endswith(("Normalization", "Norm")) for name in names
    )
