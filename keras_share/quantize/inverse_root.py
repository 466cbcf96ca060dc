"""`InverseRoot`: one over a square root, of what rounding may make zero."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_share")
class InverseRoot(keras.layers.Layer):
    """Computes `1 / sqrt(x)` of a variance to which `epsilon` was added.

    A small variance is zero among the integers of its range. Its root is then the
    largest number of the next range, in a file as here; but the gradient there is
    infinite, and makes all weights NaN in a step. In training `x` is not less than
    `epsilon`, as it wouldn't be before rounding.

    Args:
        epsilon: What was added.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(self, epsilon: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return ops.rsqrt(ops.maximum(inputs, self.epsilon) if training else inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}
