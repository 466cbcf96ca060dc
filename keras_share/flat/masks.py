"""Masks that travel beside tensors, from one layer of Keras to the next.

Keras has no public way to read them off a tensor; this is the one place that does.
`tests/flat/test_masks.py` fails when it changes.
"""

import inspect
from typing import Any

import keras
from keras import tree

from keras_share.flat.tensors import tensors

_ATTRIBUTE = "_keras_mask"


def mask_of(tensor: Any) -> Any:
    """The mask that a tensor has, or None."""
    return getattr(tensor, _ATTRIBUTE, None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Gives a tensor a mask."""
    setattr(tensor, _ATTRIBUTE, mask)


def mask_arguments(layer: keras.Layer, args: tuple, kwargs: dict) -> dict[str, Any]:
    """The masks that Keras passes to a layer by itself, by the arguments for them.

    That of the only tensor as `mask`, of several each as `<name>_mask`, where these
    are arguments that the call leaves out.
    """
    signature = inspect.signature(layer.call)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return {}
    read = {k: x for k, x in given.items() if tensors(x)}
    names = dict.fromkeys(read, "mask")
    if len(read) > 1:
        names = {name: f"{name}_mask" for name in read}
    masks = {names[name]: tree.map_structure(mask_of, x) for name, x in read.items()}
    return {
        name: mask
        for name, mask in masks.items()
        if tensors(mask) and name in signature.parameters and given.get(name) is None
    }
