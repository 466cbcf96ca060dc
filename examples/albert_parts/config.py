"""`AlbertConfig`: the sizes of an encoder, and the published ones by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AlbertConfig:
    """Sizes of an ALBERT encoder.

    Args:
        num_sites: Number of transformer blocks in depth, however many are stored.
        hidden_dim: Width of the blocks.
        num_heads: Attention heads; must divide `hidden_dim`.
        intermediate_dim: Width inside the feed-forward networks.
        embedding_dim: Width of the embedding tables, which `hidden_dim` is
            projected from.
        vocabulary_size: Number of token ids, special tokens included.
        max_length: Most tokens in a sequence.
        num_segments: Number of segment ids.
        dropout: Rate of dropout.
        initializer_stddev: Spread of the truncated normal that kernels start from.
    """

    num_sites: int
    hidden_dim: int
    num_heads: int
    intermediate_dim: int
    embedding_dim: int = 128
    vocabulary_size: int = 30_000
    max_length: int = 512
    num_segments: int = 2
    dropout: float = 0.0
    initializer_stddev: float = 0.02


# The published sizes are those of arXiv 1909.11942, table 1, with the heads of the
# released checkpoints.
CONFIGS = {
    "tiny": AlbertConfig(2, 24, 2, 48, embedding_dim=8, max_length=64),
    "small": AlbertConfig(
        6, 64, 2, 256, embedding_dim=64, max_length=128, initializer_stddev=0.05
    ),
    "base": AlbertConfig(12, 768, 12, 3072),
    "large": AlbertConfig(24, 1024, 16, 4096),
    "xlarge": AlbertConfig(24, 2048, 16, 8192),
    "xxlarge": AlbertConfig(12, 4096, 64, 16384),
}
