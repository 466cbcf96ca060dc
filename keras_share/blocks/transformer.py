"""`TransformerBlock`: self-attention and a feed-forward network."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
from keras import layers, ops

from keras_share.blocks.block import Block
from keras_share.layers import checks


@keras.saving.register_keras_serializable(package="keras_share")
class TransformerBlock(Block):
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
        normalize_first: If True, normalize the input of either half and leave the
            residual path untouched (pre-norm; can train without warm-up). If False,
            normalize after each residual sum (post-norm, as published).
        seed: Seed of all dropout, an integer; None draws one.
        **kwargs: `kernel_initializer`, `kernel_regularizer`, `kernel_constraint` and
            the same of `bias`, as in Keras's layers; and keyword arguments of
            `keras.layers.Layer`, such as `name`.

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
        activation: str | Callable | None = "relu",
        layer_norm_epsilon: float = 1e-5,
        normalize_first: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(activation, dropout, seed, **kwargs)
        self.num_heads = checks.check_positive_integer("num_heads", num_heads)
        self.intermediate_dim = checks.check_positive_integer(
            "intermediate_dim", intermediate_dim
        )
        self.layer_norm_epsilon = layer_norm_epsilon
        self.normalize_first = normalize_first

        self.attention_dropout = self._dropout("attention_dropout")
        self.attention_norm = self._norm("attention_norm")
        self.feedforward_intermediate = self._dense(
            "feedforward_intermediate", intermediate_dim, activation=self.activation
        )
        self.feedforward_dropout = self._dropout("feedforward_dropout")
        self.feedforward_norm = self._norm("feedforward_norm")

    def _norm(self, name: str) -> layers.Layer:
        epsilon = self.layer_norm_epsilon
        return self._sublayer(layers.LayerNormalization, name, epsilon=epsilon)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Builds the sublayers; creates those that follow the width of the input."""
        width = checks.check_sequence(input_shape, self.num_heads)
        self.input_spec = layers.InputSpec(ndim=3, axes={-1: width})
        self.attention = self._attention(self.num_heads, width // self.num_heads)
        self.feedforward_output = self._dense("feedforward_output", width)

        self.attention.build(input_shape, input_shape)
        self.attention_dropout.build(input_shape)
        self.attention_norm.build(input_shape)
        self.feedforward_intermediate.build(input_shape)
        self.feedforward_output.build((*input_shape[:-1], self.intermediate_dim))
        self.feedforward_dropout.build(input_shape)
        self.feedforward_norm.build(input_shape)

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

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the block."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
            "layer_norm_epsilon": self.layer_norm_epsilon,
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
