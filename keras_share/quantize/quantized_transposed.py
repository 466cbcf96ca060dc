"""`QuantizedTransposed`: the transposed use of a matrix that is rounded to integers."""

from typing import Any

import keras
from keras import ops

from keras_share.layers.transposed import Transposed
from keras_share.quantize.tfmot import RangeOwner, round_weights, weight_quantizer


@keras.saving.register_keras_serializable(package="keras_share")
class QuantizedTransposed(Transposed):
    """A `Transposed` without bias, of the matrix rounded to integers, and back.

    The matrix has one range: its integers are the same in both directions.

    Args:
        *args: As of `Transposed`.
        num_bits: Number of bits.
        **kwargs: As of `Transposed`.
    """

    def __init__(self, *args: Any, num_bits: int = 8, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.num_bits = num_bits

    @classmethod
    def of(cls, layer: Transposed, num_bits: int) -> "QuantizedTransposed":
        """The same use of the same matrix."""
        config = layer.get_config()
        config.pop("layer")
        return cls(layer.layer, num_bits=num_bits, **config)

    def build(self, input_shape: Any) -> None:
        """Creates the range of the matrix."""
        super().build(input_shape)
        self._quantizer = weight_quantizer(self.num_bits)
        self._range = self._quantizer.build((-1, 1), "matrix", RangeOwner(self))

    def call(self, inputs: Any) -> Any:
        return ops.matmul(inputs, ops.transpose(self._rounded()))

    def _rounded(self) -> Any:
        matrix = ops.cast(self.matrix.value, "float32")
        column = ops.reshape(matrix, (-1, 1))
        return ops.reshape(
            round_weights(self._quantizer, column, self._range), matrix.shape
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bits": self.num_bits}
