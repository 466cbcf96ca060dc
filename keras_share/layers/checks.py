"""Checks of arguments and input shapes that several layers need."""

from collections.abc import Sequence
from typing import Any

import keras


def check_positive_integer(name: str, value: Any) -> int:
    """Returns `value` if it is an integer of at least 1."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(
            f"`{name}` must be an integer of at least 1. Received: {name}={value!r}"
        )
    return value


def check_rate(name: str, value: Any) -> float:
    """Returns `value` if it is a rate, of dropout or of a moving average."""
    if not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(
            f"`{name}` must be at least 0 and below 1. Received: {name}={value!r}"
        )
    return value


def check_padding(padding: Any) -> str:
    """Returns `padding` if it is one that keeps the length of a sequence."""
    if padding not in ("same", "causal"):
        raise ValueError(
            f"`padding` must be 'same' or 'causal'. Received: padding={padding!r}"
        )
    return padding


def options_around(layer: keras.Layer, **kwargs: Any) -> dict[str, Any]:
    """The base layer keyword arguments of a layer that runs another one.

    Raises:
        ValueError: If `kwargs` has a `dtype`.
    """
    if kwargs.get("dtype") is not None:
        raise ValueError(
            f"`dtype` is that of the variables of the layer inside, '{layer.name}' "
            f"({layer.variable_dtype}): set it there. Received: "
            f"dtype={kwargs['dtype']!r}"
        )
    # The layer inside casts its own inputs and variables. With a mixed policy, reading
    # them outside to pass them on would round them first.
    dtype = getattr(layer, "variable_dtype", None)
    return {**kwargs, "autocast": False, "dtype": dtype}


def check_sequence(input_shape: Sequence[int | None], num_heads: int) -> int:
    """Returns the width of a sequence that `num_heads` heads can split evenly."""
    if len(input_shape) != 3 or input_shape[-1] is None:
        raise ValueError(
            "The input must have the shape (batch, length, width) with a known width. "
            f"Received: input_shape={tuple(input_shape)}"
        )
    width = input_shape[-1]
    if width % num_heads:
        best = max(n for n in range(1, num_heads) if width % n == 0)
        raise ValueError(
            f"`num_heads` must divide the width of the input ({width}), as {best} "
            f"does. Received: num_heads={num_heads}"
        )
    return width
