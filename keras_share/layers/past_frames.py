"""`PastFrames`: the frames before each frame of a sequence, as an axis of their own."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_share.layers import checks


@keras.saving.register_keras_serializable(package="keras_share")
class PastFrames(keras.layers.Layer):
    """Gives each frame of a sequence the frames that a window has, oldest first.

    What reads them along the new axis (a product, a softmax, a mean) is a layer of a
    bounded past, and `keras_share.streaming` runs it step by step.

    Args:
        window: How many frames, of which the last is the present one.
        padding: `"causal"`: before the first frame there are zeros; `"valid"`: the
            first output is of the first frames that fill the window.
        **kwargs: Base layer keyword arguments, such as `name`.

    Input shape:
        `(batch, length, ...)`.

    Output shape:
        `(batch, length, window, ...)`, with valid padding `length - window + 1`.

    Raises:
        ValueError: If an argument is none of these.

    Example:
    >>> import keras, keras_share
    >>> x = keras.ops.reshape(keras.ops.arange(3.0), (1, 3))
    >>> keras_share.layers.PastFrames(2)(x).numpy().tolist()
    [[[0.0, 0.0], [0.0, 1.0], [1.0, 2.0]]]
    """

    def __init__(self, window: int, padding: str = "causal", **kwargs: Any):
        super().__init__(**kwargs)
        self.window = checks.check_positive_integer("window", window)
        if padding not in ("causal", "valid"):
            raise ValueError(
                f"`padding` must be 'causal' or 'valid'. Received: padding={padding!r}"
            )
        self.padding = padding
        self.supports_masking = padding == "causal"

    def call(self, inputs: Any) -> Any:
        """Returns the frames of all windows."""
        x, past = inputs, self.window - 1
        if self.padding == "causal" and past:
            x = ops.pad(x, [[0, 0], [past, 0], *[[0, 0]] * (len(x.shape) - 2)])
        if x.shape[1] == self.window:  # the one window of a step
            return ops.expand_dims(x, 1)
        if x.shape[1] is None:
            first = ops.expand_dims(ops.arange(ops.shape(x)[1] - past), 1)
            return ops.take(x, first + np.arange(self.window, dtype="int32"), axis=1)
        first = np.arange(x.shape[1] - past, dtype="int32")[:, None]
        return ops.take(x, first + np.arange(self.window, dtype="int32"), axis=1)

    def compute_output_shape(
        self, input_shape: Sequence[int | None]
    ) -> tuple[int | None, ...]:
        """Returns `input_shape` with the new axis."""
        batch, length, *others = input_shape
        if self.padding == "valid" and length is not None:
            length -= self.window - 1
        return (batch, length, self.window, *others)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        config = super().get_config()
        return {**config, "window": self.window, "padding": self.padding}
