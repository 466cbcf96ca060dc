"""The ALBERT encoder, with any way of sharing its blocks."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

import keras_share as ks
from albert_parts.config import AlbertConfig
from albert_parts.modes import Mode

PADDING = 0
EPSILON = 1e-12


@keras.saving.register_keras_serializable(package="keras_share_examples")
class PositionEmbedding(layers.Layer):
    """Adds a trained vector per position to sequences.

    Args:
        max_length: Number of positions.
        initializer: Initializer of the vectors.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(self, max_length: int, initializer: Any = "uniform", **kwargs: Any):
        super().__init__(**kwargs)
        self.max_length = max_length
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.table = self.add_weight(
            shape=(self.max_length, input_shape[-1]),
            initializer=self.initializer,
            name="table",
        )

    def call(self, inputs: Any) -> Any:
        return inputs + self.table[: inputs.shape[1]]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_length": self.max_length,
            "initializer": keras.initializers.serialize(self.initializer),
        }


def kernel_initializer(config: AlbertConfig) -> keras.Initializer:
    """A new initializer: one initializer draws the same values at each use."""
    return keras.initializers.TruncatedNormal(stddev=config.initializer_stddev)


@keras.saving.register_keras_serializable(package="keras_share_examples")
def gelu(x: Any) -> Any:
    """The approximate form that the published weights were trained with."""
    return keras.activations.gelu(x, approximate=True)


def albert_encoder(config: AlbertConfig, mode: Mode, length: int) -> keras.Model:
    """Builds an encoder for sequences of a fixed length.

    Inputs are `token_ids` and `segment_ids`, both `(batch, length)`; the id 0 is
    padding, which no position attends to. Outputs are the sequence,
    `(batch, length, hidden_dim)`, and the pooled first token,
    `(batch, hidden_dim)`.

    Args:
        config: The sizes.
        mode: What the blocks share.
        length: Tokens per sequence, special tokens and padding included.

    Raises:
        ValueError: If `length` is more than the configuration has positions for.

    Reference:
    - [Lan et al., 2019](https://arxiv.org/abs/1909.11942)
    """
    if length > config.max_length:
        raise ValueError(
            f"`length` must be at most `max_length` ({config.max_length}). "
            f"Received: length={length}"
        )
    token_ids = keras.Input((length,), dtype="int32", name="token_ids")
    segment_ids = keras.Input((length,), dtype="int32", name="segment_ids")
    padding_mask = ops.not_equal(token_ids, PADDING)

    def embedding(size: int, name: str) -> layers.Embedding:
        return layers.Embedding(
            size, config.embedding_dim, kernel_initializer(config), name=name
        )

    tokens = embedding(config.vocabulary_size, "token_embedding")(token_ids)
    segments = embedding(config.num_segments, "segment_embedding")(segment_ids)
    x = layers.Add(name="embeddings_sum")([tokens, segments])
    x = PositionEmbedding(
        config.max_length, kernel_initializer(config), name="position_embedding"
    )(x)
    x = layers.LayerNormalization(epsilon=EPSILON, name="embeddings_norm")(x)
    x = layers.Dropout(config.dropout, name="embeddings_dropout")(x)
    x = layers.Dense(
        config.hidden_dim,
        kernel_initializer=kernel_initializer(config),
        name="embeddings_projection",
    )(x)
    block = ks.blocks.TransformerBlock(
        config.num_heads,
        config.intermediate_dim,
        dropout=config.dropout,
        activation=gelu,
        layer_norm_epsilon=EPSILON,
        kernel_initializer=kernel_initializer(config),
        name="block",
    )
    x = ks.SharedStack(
        block,
        mode.pattern,
        private=None,
        num_sites=config.num_sites,
        relax=mode.relax,
        name="stack",
    )(x, padding_mask=padding_mask)
    pooled = layers.Dense(
        config.hidden_dim,
        activation="tanh",
        kernel_initializer=kernel_initializer(config),
        name="pooler",
    )(x[:, 0])
    return keras.Model([token_ids, segment_ids], [x, pooled], name="encoder")
