"""`WindowedAttention`: self-attention to a bounded past, for streams."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_share.blocks.block import Block
from keras_share.layers import checks
from keras_share.layers.past_frames import PastFrames


@keras.saving.register_keras_serializable(package="keras_share")
class WindowedAttention(Block):
    """Multi-head self-attention of each frame to itself and the frames just before it.

    It computes each frame of a known number of past ones, in time that grows with the
    length and not with its square, and `keras_share.streaming` keeps the keys and
    values of the past as states. Before the first frame keys and values are zeros, as
    what a causal convolution reads there, and those of padding are, too. (So all places
    of a window take part in the softmax. A stream needs no clock for that.)

    The sublayers are `query`, `key`, `value` and `attention_output`, all `Dense`.

    Args:
        num_heads: Number of attention heads; must divide the width of the input.
        window: How many frames each one sees, itself among them.
        dropout: Rate of dropout on the attention weights.
        seed: Seed of the dropout, an integer; None draws one.
        **kwargs: `kernel_initializer`, `kernel_regularizer` and `kernel_constraint` and
            the same of `bias`, as in Keras's layers; and keyword arguments of
            `keras.layers.Layer`, such as `name`.

    Call arguments:
        inputs: Sequences of shape `(batch, length, width)`.
        mask: Boolean, `(batch, length)`; False marks padding. Filled in by Keras with
            the mask attached to `inputs`, if any.
        training: Whether dropout is active.

    Output shape:
        The shape of `inputs`.

    Raises:
        ValueError: If an argument is out of range, if the input is not of rank 3, or
            if `num_heads` does not divide its width.

    Example:
    >>> import keras, keras_share
    >>> attention = keras_share.blocks.WindowedAttention(num_heads=2, window=8)
    >>> tuple(attention(keras.random.normal((4, 30, 16))).shape)
    (4, 30, 16)

    Reference:
    - [Beltagy et al., 2020](https://arxiv.org/abs/2004.05150)
    """

    def __init__(
        self,
        num_heads: int,
        window: int,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(None, dropout, seed, **kwargs)
        self.num_heads = checks.check_positive_integer("num_heads", num_heads)
        self.window = checks.check_positive_integer("window", window)
        self.dropout_layer = self._dropout("dropout")
        self.frames = self._sublayer(PastFrames, "frames", window)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates and builds the sublayers for the width of the input."""
        width = checks.check_sequence(input_shape, self.num_heads)
        self.input_spec = layers.InputSpec(ndim=3, axes={-1: width})
        heads = (self.num_heads, width // self.num_heads)
        self.query = self._dense("query", width)
        self.key = self._dense("key", width)
        self.value = self._dense("value", width)
        self.attention_output = self._dense("attention_output", width)
        for layer in (self.query, self.key, self.value, self.attention_output):
            layer.build(input_shape)
        self.one = self._sublayer(layers.Reshape, "one", (-1, heads[0], 1, heads[1]))
        self.all = self._sublayer(layers.Reshape, "all", (-1, self.window, *heads))
        self.joined = self._sublayer(layers.Reshape, "joined", (-1, width))

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Applies the layer; see the class for the arguments."""
        query, key, value = self.query(inputs), self.key(inputs), self.value(inputs)
        if mask is not None:
            mask = ops.expand_dims(ops.cast(mask, key.dtype), -1)
            key, value = key * mask, value * mask
        query = self.one(query) / math.sqrt(query.shape[-1] // self.num_heads)
        # (batch, length, heads, width of a head, window), values with the last swapped.
        key = ops.transpose(self.all(self.frames(key)), (0, 1, 3, 4, 2))
        value = ops.transpose(self.all(self.frames(value)), (0, 1, 3, 2, 4))
        weights = ops.softmax(ops.matmul(query, key))
        weights = self.dropout_layer(weights, training=training)
        return self.attention_output(self.joined(ops.matmul(weights, value)))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        config = super().get_config()
        del config["activation"]
        return {**config, "num_heads": self.num_heads, "window": self.window}
