"""The network that spots keywords: a stem, blocks that share, and a classifier."""

import keras
from keras import layers

import keras_share as ks

BLOCKS = ("separable", "conformer")
_STEM_FILTERS = 16
_STEM_POOL = 4  # mel bands
_KERNEL_SIZE = 7  # frames, of which the stem leaves every second
_DROPOUT = 0.1
_MOMENTUM = 0.9


def block(kind: str, width: int) -> layers.Layer:
    """What repeats: `"separable"` convolutions or a `"conformer"`."""
    if kind not in BLOCKS:
        raise ValueError(
            f"A block must be one of {', '.join(BLOCKS)}. Received: {kind!r}"
        )
    if kind == "separable":
        return ks.blocks.SeparableConvBlock(
            _KERNEL_SIZE, rank=1, dropout=_DROPOUT, momentum=_MOMENTUM, name="block"
        )
    return ks.blocks.ConformerBlock(
        num_heads=4,
        intermediate_dim=2 * width,
        kernel_size=_KERNEL_SIZE,
        activation="relu",
        dropout=_DROPOUT,
        momentum=_MOMENTUM,
        name="block",
    )


def build_network(
    shape: tuple[int, int],
    num_labels: int,
    pattern: ks.SharingPattern,
    *,
    kind: str = "separable",
    width: int = 64,
) -> keras.Model:
    """A classifier of log-mel features.

    Args:
        shape: Frames and mel bands.
        num_labels: Number of classes; the outputs are logits.
        pattern: Which blocks share their weights.
        kind: One of `BLOCKS`.
        width: Channels of the blocks.
    """
    inputs = keras.Input(shape, name="features")
    stack = ks.SharedStack(lambda: block(kind, width), pattern, name="stack")
    x = layers.GlobalAveragePooling1D(name="pooling")(stack(_stem(inputs, width)))
    x = layers.Dropout(_DROPOUT, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(num_labels, name="head")(x))


def _stem(inputs: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Finds shapes in time and frequency, and halves the number of frames.

    The pooling over neighboring mel bands is for speakers: what they have in common
    lies a little higher or lower for each.

    Reference:
    - [Abdel-Hamid et al., 2014](https://doi.org/10.1109/TASLP.2014.2339736)
    """
    x = layers.Reshape((*inputs.shape[1:], 1), name="image")(inputs)
    x = layers.Conv2D(
        _STEM_FILTERS, 5, (2, 1), padding="same", use_bias=False, name="stem"
    )(x)
    x = _normalized(x, "stem")
    x = layers.MaxPooling2D((1, _STEM_POOL), name="stem_pooling")(x)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name="frames")(x)
    x = layers.Conv1D(width, 1, use_bias=False, name="projection")(x)
    return _normalized(x, "projection")


def _normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_normalization")(x)
    return layers.ReLU(name=f"{name}_activation")(x)
