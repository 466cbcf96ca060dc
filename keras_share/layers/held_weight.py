"""Weights and batch sizes as tensors: what layers taken apart compute with."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_share")
class HeldWeight(keras.layers.Layer):
    """Returns its weight, whatever its input: a weight that operations read.

    A single number comes as a vector of one.

    Args:
        shape: Shape of the weight.
        weight_dtype: Its dtype.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(
        self, shape: Sequence[int], weight_dtype: str = "float32", **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.shape = tuple(shape)
        self.weight_dtype = weight_dtype

    @classmethod
    def of(
        cls, variable: keras.Variable, owner: keras.Layer, **kwargs: Any
    ) -> "HeldWeight":
        """One built like a weight of a layer, and trainable where that is."""
        held = cls(variable.shape, variable.dtype, **kwargs)
        held.build()
        held.trainable = owner.trainable and variable.trainable
        return held

    def build(self, input_shape: Any = None) -> None:
        """Creates the weight."""
        self.weight = self.add_weight(
            name="weight",
            shape=self.shape,
            dtype=self.weight_dtype,
            initializer="zeros",
            trainable="float" in self.weight_dtype,
        )

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: what is masked in its input is nothing of the weight."""

    def call(self, inputs: Any) -> Any:
        return ops.copy(self.weight) if self.shape else ops.reshape(self.weight, (1,))

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor(self.shape or (1,), self.weight_dtype)

    def get_config(self) -> dict[str, Any]:
        own = {"shape": self.shape, "weight_dtype": self.weight_dtype}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_share")
class ToBatch(keras.layers.Layer):
    """Repeats a tensor for each sample of a batch.

    Args:
        sizes: Sizes of the result behind the batch axis.
        **kwargs: Base layer keyword arguments, such as `name`.

    Call arguments:
        inputs: The tensor, of any shape that can be broadcast.
        like: A tensor whose first axis is that of the batch.
    """

    def __init__(self, sizes: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)

    def call(self, inputs: Any, like: Any) -> Any:
        return ops.broadcast_to(inputs, (ops.shape(like)[0], *self.sizes))

    def compute_output_spec(self, inputs: Any, like: Any) -> Any:
        return keras.KerasTensor((like.shape[0], *self.sizes), inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sizes": self.sizes}
