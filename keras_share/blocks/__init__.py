"""Blocks to share: layers that keep the shape of their input."""

import keras  # noqa: F401 (first, see keras_share.registered)

from keras_share.blocks.conformer import ConformerBlock
from keras_share.blocks.separable_conv import SeparableConvBlock
from keras_share.blocks.transformer import TransformerBlock
from keras_share.blocks.windowed_attention import WindowedAttention

__all__ = [
    "ConformerBlock",
    "SeparableConvBlock",
    "TransformerBlock",
    "WindowedAttention",
]
