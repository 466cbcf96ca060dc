"""`TransformerBlock`: self-attention and a feed-forward network."""

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import layers, ops

from keras_share.layers import checks


@keras.saving.register_keras_serializable(package="keras_share")
class TransformerBlock(layers.Layer):
    """Encoder block of a transformer.

    Multi-head self-attention and a feed-forward network of two `Dense` layers, each
    with dropout, a residual connection and layer normalization. The names and
    meanings of the arguments are those of KerasHub's `TransformerEncoder`.

    The sublayers, to be picked by name or as attributes: `attention`,
    `attention_dropout`, `attention_norm`, `feedforward_intermediate`,
    `feedforward_output`, `feedforward_dropout`, `feedforward_norm`. The parts that a
    `SharedStack` can share on their own are these, `feedforward` (both its layers)
    and `query`, `key`, `value` and `attention_output` of the attention.

    Args:
        num_heads: Number of attention heads; must divide the width of the input.
        intermediate_dim: Width of the hidden layer of the feed-forward network.
        dropout: Rate of dropout on the attention weights and on the output of
            either half.
        activation: Activation of the hidden layer.
        layer_norm_epsilon: Epsilon of both layer normalizations.
        kernel_initializer: Initializer of the kernels.
        bias_initializer: Initializer of the biases.
        normalize_first: If True, normalize the input of either half and leave the
            residual path untouched (pre-norm; can train without warm-up). If False,
            normalize after each residual sum (post-norm, as published).
        **kwargs: Keyword arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        inputs: Sequences of shape `(batch, length, width)`.
        padding_mask: Boolean, `(batch, length)`; False marks padding, which no
            position attends to. A mask that Keras attached to `inputs`, as
            `Embedding(mask_zero=True)` does, is honored as well.
        attention_mask: Boolean, `(batch, length, length)` or broadcastable to it;
            False at `[b, i, j]` keeps position `i` from attending to `j`.
        training: Whether dropout is active.

    Output shape:
        The shape of `inputs`.

    Raises:
        ValueError: If an argument is out of range, if the input is not of rank 3, or
            if `num_heads` does not divide its width.

    Example:
    >>> import keras
    >>> from keras_share.blocks import TransformerBlock
    >>> block = TransformerBlock(num_heads=2, intermediate_dim=64)
    >>> tuple(block(keras.random.normal((4, 10, 16))).shape)
    (4, 10, 16)

    Reference:
    - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)
    - [Xiong et al., 2020](https://arxiv.org/abs/2002.04745) (`normalize_first`)
    """

    # Beside single sublayers, and the "query", "key", "value" and "attention_output"
    # of the attention.
    components: ClassVar[dict[str, tuple[str, ...]]] = {
        "attention": ("attention",),
        "feedforward": ("feedforward_intermediate", "feedforward_output"),
    }

    def __init__(
        self,
        num_heads: int,
        intermediate_dim: int,
        dropout: float = 0.0,
        activation: Any = "relu",
        layer_norm_epsilon: float = 1e-5,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        normalize_first: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_heads = checks.check_positive_integer("num_heads", num_heads)
        self.intermediate_dim = checks.check_positive_integer(
            "intermediate_dim", intermediate_dim
        )
        self.dropout = checks.check_rate("dropout", dropout)
        self.activation = keras.activations.get(activation)
        self.layer_norm_epsilon = layer_norm_epsilon
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.normalize_first = normalize_first
        self.supports_masking = True

        self.attention_dropout = layers.Dropout(
            dropout, **self._sublayer("attention_dropout")
        )
        self.attention_norm = layers.LayerNormalization(
            epsilon=layer_norm_epsilon, **self._sublayer("attention_norm")
        )
        self.feedforward_intermediate = layers.Dense(
            intermediate_dim,
            activation=self.activation,
            **self._sublayer("feedforward_intermediate", initializers=True),
        )
        self.feedforward_dropout = layers.Dropout(
            dropout, **self._sublayer("feedforward_dropout")
        )
        self.feedforward_norm = layers.LayerNormalization(
            epsilon=layer_norm_epsilon, **self._sublayer("feedforward_norm")
        )

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Builds the sublayers; creates those that follow the width of the input."""
        width = checks.check_sequence(input_shape, self.num_heads)
        self.input_spec = layers.InputSpec(ndim=3, axes={-1: width})
        self.attention = layers.MultiHeadAttention(
            self.num_heads,
            width // self.num_heads,
            dropout=self.dropout,
            **self._sublayer("attention", initializers=True),
        )
        self.feedforward_output = layers.Dense(
            width, **self._sublayer("feedforward_output", initializers=True)
        )

        self.attention.build(input_shape, input_shape)
        self.attention_dropout.build(input_shape)
        self.attention_norm.build(input_shape)
        self.feedforward_intermediate.build(input_shape)
        self.feedforward_output.build((*input_shape[:-1], self.intermediate_dim))
        self.feedforward_dropout.build(input_shape)
        self.feedforward_norm.build(input_shape)

    def _sublayer(self, name: str, initializers: bool = False) -> dict[str, Any]:
        arguments = {"name": name, "dtype": self.dtype_policy}
        if initializers:
            # An initializer draws the same values at each use; a clone draws its own.
            arguments["kernel_initializer"] = self.kernel_initializer.clone()
            arguments["bias_initializer"] = self.bias_initializer.clone()
        return arguments

    def call(
        self,
        inputs: Any,
        padding_mask: Any = None,
        attention_mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        """Applies the block; see the class for the arguments."""
        mask = _merge_masks(padding_mask, attention_mask)
        x = self.attention_norm(inputs) if self.normalize_first else inputs
        x = self.attention(x, x, attention_mask=mask, training=training)
        x = inputs + self.attention_dropout(x, training=training)
        attended = x if self.normalize_first else self.attention_norm(x)

        x = self.feedforward_norm(attended) if self.normalize_first else attended
        x = self.feedforward_output(self.feedforward_intermediate(x))
        x = attended + self.feedforward_dropout(x, training=training)
        return x if self.normalize_first else self.feedforward_norm(x)

    def compute_output_shape(
        self, input_shape: Sequence[int | None]
    ) -> tuple[int | None, ...]:
        """Returns `input_shape`."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the block."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
            "dropout": self.dropout,
            "activation": keras.activations.serialize(self.activation),
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "normalize_first": self.normalize_first,
        }


def _merge_masks(padding_mask: Any, attention_mask: Any) -> Any:
    """One mask for the attention, None if there is nothing to mask."""
    if padding_mask is None:
        return attention_mask
    # Masked as keys only: a query with no key left has no defined attention.
    keys = ops.expand_dims(ops.cast(padding_mask, "bool"), axis=-2)
    if attention_mask is None:
        return keys
    return ops.logical_and(ops.cast(attention_mask, "bool"), keys)
