"""`LookUp`: a function of each number alone, of 8-bit integers a table."""

from typing import Any

import keras
import numpy as np

from keras_share.quantize.float_edge import custom_operator

LOOK_UP = "LookUp"


@keras.saving.register_keras_serializable(package="keras_share")
class LookUp(keras.layers.Wrapper):
    """Computes each number of its output from the one in its place, in one rounding.

    Of 256 integers a function has 256 results, whatever it computes. For export it
    becomes an operator that the converter doesn't know, which is written as a look-up
    in the table of these: exactly what is simulated here.

    Args:
        layer: What computes the function.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(self, layer: keras.Layer, **kwargs: Any):
        super().__init__(layer, **{**kwargs, "dtype": "float32"})
        self._marked = False

    def mark(self) -> None:
        """From now on is an operator of its own: for export."""
        self._marked = True

    def call(self, inputs: Any) -> Any:
        if self._marked:
            return custom_operator(f"{LOOK_UP}:{self.name}", inputs)
        return self.layer(inputs)

    def results(self, values: np.ndarray) -> np.ndarray:
        """What the function makes of single numbers."""
        rank = len(self.layer.inputs[0].shape)
        x = values.astype("float32").reshape(-1, *(1,) * (rank - 1))
        return keras.ops.convert_to_numpy(self.layer(x)).reshape(-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape
