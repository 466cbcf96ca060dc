"""Symbolic tensors in the arguments and outputs of calls."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
from keras import tree

from keras_share.flat.older_keras import OLDER

TensorMap = Mapping[keras.KerasTensor, Any]


def tensors(structure: Any) -> list[keras.KerasTensor]:
    """The symbolic tensors in a structure."""
    return [x for x in tree.flatten(structure) if isinstance(x, keras.KerasTensor)]


def replaced(structure: Any, stand_ins: TensorMap) -> Any:
    """A structure with other tensors, or values, in place of some."""

    def replace(x: Any) -> Any:
        return stand_ins.get(x, x) if isinstance(x, keras.KerasTensor) else x

    return tree.map_structure(replace, structure)


def corresponding(one: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of what two structures of one form hold."""
    return zip(tree.flatten(one), tree.flatten(other), strict=True)


def fresh_input(
    x: keras.KerasTensor,
    batch_size: int | None = None,
    name: str | None = None,
    shape: Sequence[int] | None = None,
) -> keras.KerasTensor:
    """An input like a tensor, with another batch size or the sizes of a shape."""
    sizes = x.shape[1:]
    if shape is not None:
        sizes = tuple(
            known or size for known, size in zip(sizes, shape[1:], strict=True)
        )
    batch = x.shape[0] if batch_size is None else batch_size
    return new_input((batch, *sizes), x.dtype, name)


def new_input(
    shape: Sequence[int | None], dtype: str | None = None, name: str | None = None
) -> keras.KerasTensor:
    """An input of a model that may leave it aside."""
    x = keras.Input(batch_shape=tuple(shape), dtype=dtype, name=name)
    if OLDER:  # which takes no input that nothing reads
        keras.ops.stop_gradient(x)
    return x
