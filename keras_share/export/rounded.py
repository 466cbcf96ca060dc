"""`Rounded`: a tensor rounded to a range that no longer changes."""

from collections.abc import Callable
from typing import Any

import keras

from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.quantize_weights import QuantizeWeights


class Rounded(keras.Operation):
    """Rounds as a layer does, without variables, which take long to make.

    Args:
        layer: The layer.
        name: Of the operation.

    Raises:
        ValueError: If the range of the layer was never set, or is not finite.
    """

    def __init__(self, layer: FakeQuantize, name: str):
        super().__init__(name=name)
        layer.check_range()
        self._rounding = rounding(layer)

    def call(self, x: Any) -> Any:
        """Rounds a tensor."""
        import tensorflow as tf

        with tf.name_scope(self.name):
            return self._rounding(x)

    def compute_output_spec(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """What it returns: a tensor like `x`."""
        return keras.KerasTensor(x.shape, x.dtype)


def rounding(layer: FakeQuantize | QuantizeWeights | None) -> Callable[[Any], Any]:
    """A function that rounds as a layer does, to numbers that are fixed."""
    if layer is None:
        return lambda x: x
    import tensorflow as tf

    low, high = layer.ends()
    bits = layer.num_bits
    narrow = bits > 8 or isinstance(layer, QuantizeWeights)

    def round_to_range(x: Any) -> Any:
        return tf.quantization.fake_quant_with_min_max_args(
            x, low, high, bits, narrow_range=narrow
        )

    return round_to_range
