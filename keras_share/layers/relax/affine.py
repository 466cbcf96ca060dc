"""`Affine` and `StepEmbedding`: small weights that a site has for itself."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_share")
class Affine(keras.layers.Layer):
    """Multiplies by a vector and adds one: `x * scale + offset`.

    Args:
        shape: Trailing axes of the input that the vectors lie along; None for the
            last one.
        scale: Whether to multiply.
        offset: Whether to add.
        **kwargs: Base layer keyword arguments, such as `name`.

    Output shape:
        The shape of the input.
    """

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        scale: bool = True,
        offset: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.shape = None if shape is None else tuple(shape)
        self.has_scale = scale
        self.has_offset = offset
        self.supports_masking = True

    @property
    def num_axes(self) -> int:
        """How many trailing axes the vectors lie along."""
        return 1 if self.shape is None else len(self.shape)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the vectors, which start at one and zero."""
        shape = tuple(input_shape[-self.num_axes :])
        if self.shape is not None and shape != self.shape:
            raise ValueError(
                f"The input's last axes must be `shape` ({self.shape}). "
                f"Received: input_shape={tuple(input_shape)}"
            )
        if None in shape:
            raise ValueError(
                "The size of the last axis must be known. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        if self.has_scale:
            self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")
        if self.has_offset:
            self.offset = self.add_weight(
                name="offset", shape=shape, initializer="zeros"
            )

    def call(self, inputs: Any) -> Any:
        x = inputs
        if self.has_scale:
            x = x * ops.cast(self.scale, x.dtype)
        if self.has_offset:
            x = x + ops.cast(self.offset, x.dtype)
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "shape": self.shape,
            "scale": self.has_scale,
            "offset": self.has_offset,
        }


@keras.saving.register_keras_serializable(package="keras_share")
class StepEmbedding(Affine):
    """Tells a shared block at which site it runs: adds a private vector to its input.

    The coordinate embedding of the Universal Transformer (arXiv 1807.03819) along
    depth, learned instead of sinusoidal. It starts at zero. In a `SharedStack` pass it
    as `relax=keras_share.StepEmbedding()`.

    Args:
        **kwargs: Base layer keyword arguments, such as `name`.

    Input shape:
        `(batch, ..., width)` with a known width.

    Example:
    >>> import keras, keras_share
    >>> stack = keras_share.SharedStack(
    ...     keras.layers.Dense(8), "AAA", relax=keras_share.StepEmbedding()
    ... )
    >>> stack.build((None, 8))
    >>> stack.count_params()  # one Dense of 72, three vectors of 8
    96
    """

    def __init__(self, **kwargs: Any):
        super().__init__(scale=False, **kwargs)

    @property
    def private_weights(self) -> list[keras.Variable]:
        """The weights that every use has for itself: all."""
        return self.weights

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("shape", "scale", "offset"):
            del config[name]
        return config
