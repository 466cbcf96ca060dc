"""`Block`: what the blocks have in common."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from keras_share.layers import checks
from keras_share.layers.weight_arguments import WeightArguments


class Block(WeightArguments):
    """A layer of layers with dropout that keeps the shape of its input.

    Args:
        activation: Activation function.
        dropout: Rate of dropout.
        seed: Seed of all dropout, an integer. Each sublayer draws from its own, made
            of this and its name.
        **kwargs: The arguments of `WeightArguments`, and those of
            `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        activation: str | Callable | None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.dropout = checks.check_rate("dropout", dropout)
        self.seed = seed
        self.supports_masking = True

    def _sublayer(
        self, layer_class: type[keras.Layer], name: str, *args: Any, **kwargs: Any
    ) -> keras.Layer:
        return layer_class(*args, name=name, dtype=self.dtype_policy, **kwargs)

    def _dense(self, name: str, units: int, **kwargs: Any) -> keras.Layer:
        weights = self.weight_arguments(kernel="kernel_", bias="bias_")
        return self._sublayer(layers.Dense, name, units, **weights, **kwargs)

    def _attention(
        self,
        num_heads: int,
        size: int,
        layer_class: type[keras.Layer] = layers.MultiHeadAttention,
    ) -> keras.Layer:
        """Attention of a kind; `size` is its second argument, that of a head."""
        return self._sublayer(
            layer_class,
            "attention",
            num_heads,
            size,
            dropout=self.dropout,
            seed=self._seed("attention"),
            **self.weight_arguments(kernel="kernel_", bias="bias_"),
        )

    def _dropout(self, name: str) -> keras.Layer:
        return self._sublayer(layers.Dropout, name, self.dropout, seed=self._seed(name))

    def _seed(self, name: str) -> int | None:
        if self.seed is None:
            return None
        # With the same one, layers of the same shape would drop the same.
        return random.Random(f"{self.seed} {name}").getrandbits(31)

    def compute_output_shape(
        self, input_shape: Sequence[int | None]
    ) -> tuple[int | None, ...]:
        """Returns `input_shape`."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the block."""
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "seed": self.seed,
        }
