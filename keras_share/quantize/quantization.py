"""`Quantization`: the ways in which a model can be quantized."""

from collections.abc import Collection
from enum import Enum

import keras

from keras_share.layers.sublayers import sublayers
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.quantize_weights import QuantizeWeights


class Quantization(str, Enum):
    """A way of quantizing. Functions take its value, a plain string, as well.

    Attributes:
        weights: Bits of the integers that kernels are stored as; None for floats.
        activations: Bits of the activations; None leaves them in floating point.

    Example:
    >>> Quantization("int4").weights, Quantization("int4").activations
    (4, 8)
    """

    FLOAT32 = "float32", None, None
    FLOAT16 = "float16", None, None
    DYNAMIC = "dynamic", 8, None
    DYNAMIC_INT4 = "dynamic_int4", 4, None
    INT8 = "int8", 8, 8
    INT16 = "int16", 8, 16
    INT4 = "int4", 4, 8

    weights: int | None
    activations: int | None

    def __new__(
        cls, value: str, weights: int | None = None, activations: int | None = None
    ) -> "Quantization":
        member = str.__new__(cls, value)
        member._value_ = value
        member.weights, member.activations = weights, activations
        return member

    def weight_bits(self, fewest: int = 0) -> int:
        """Bits of the kernels of a layer that needs so many at least."""
        assert self.weights is not None, self
        return max(self.weights, fewest)

    __str__ = str.__str__  # in messages the string that users pass


TRAINED = (
    Quantization.INT8,
    Quantization.INT16,
    Quantization.INT4,
    Quantization.DYNAMIC,
    Quantization.DYNAMIC_INT4,
)
"""What `quantize_model` makes."""

CONVERTED = (
    Quantization.FLOAT32,
    Quantization.FLOAT16,
    Quantization.DYNAMIC,
    Quantization.INT8,
)
"""What the converter makes of a float model."""


def find_quantization(name: str, choices: Collection[Quantization]) -> Quantization:
    """The way of quantizing of this name.

    Raises:
        ValueError: If it is none of the choices.
    """
    if name not in choices:
        raise ValueError(
            f"`quantization` must be one of {', '.join(choices)}. "
            f"Received: quantization={name!r}"
        )
    return Quantization(name)


def quantization_of(model: keras.Model) -> Quantization | None:
    """How a model was quantized by `quantize_model`; None for a float model."""
    parts = list(sublayers(model))
    weights = [p.num_bits for p in parts if isinstance(p, QuantizeWeights)]
    activations = [p.num_bits for p in parts if isinstance(p, FakeQuantize)]
    if not weights and not activations:
        return None
    # Layers that need more bits keep 8 in a model whose others have 4.
    few, many = min(weights, default=8), max(activations, default=None)
    return min(
        TRAINED, key=lambda q: (q.activations != many, abs(q.weight_bits() - few))
    )
