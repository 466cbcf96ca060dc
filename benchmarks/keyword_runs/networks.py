"""The networks that are compared: of the field, and ours, each at any width."""

from collections.abc import Callable

import keras
from keras import layers

import keras_share as ks

MOMENTUM = 0.95
DROPOUT = 0.1


def ds_cnn(inputs: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Depthwise separable convolutions over time and frequency: MLPerf Tiny's network.

    Reference:
    - [Zhang et al., 2017](https://arxiv.org/abs/1711.07128)
    - [Banbury et al., 2021](https://arxiv.org/abs/2106.07597)
    """
    x = layers.Reshape((*inputs.shape[1:], 1))(inputs)
    x = _conv(x, width, (10, 4), strides=(3, 4))
    for _ in range(4):
        x = _normalized(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
        x = _conv(x, width, 1)
    return layers.GlobalAveragePooling2D()(x)


def ds_cnn_1d(inputs: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Depthwise separable convolutions over time alone, causal: streaming wake words.

    The form of MLPerf Tiny's streaming task: a convolution of all bands, then blocks
    without a residual, of longer and longer reach.
    """
    x = _causal(inputs, layers.Conv1D(width, 3, strides=2, use_bias=False), 3)
    for size in (5, 7, 9, 11):
        x = _causal(x, layers.DepthwiseConv1D(size, use_bias=False), size)
        x = _normalized(layers.Conv1D(width, 1, use_bias=False)(x))
    return layers.GlobalAveragePooling1D()(x)


def bc_resnet(inputs: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Residuals broadcast over frequency: in 2D depthwise only, in 1D the rest.

    Plain batch normalization stands for the sub-spectral one of the paper.

    Reference:
    - [Kim et al., 2021](https://arxiv.org/abs/2106.04140)
    """
    x = layers.Reshape((*inputs.shape[1:], 1))(inputs)
    x = _conv(x, width, 5, strides=(2, 3))
    for dilation in (1, 1, 2, 2):
        over_bands = layers.DepthwiseConv2D((1, 3), padding="same", use_bias=False)(x)
        over_bands = layers.BatchNormalization(momentum=MOMENTUM)(over_bands)
        y = layers.AveragePooling2D((1, over_bands.shape[2]))(over_bands)
        y = layers.DepthwiseConv2D(
            (3, 1), padding="same", dilation_rate=(dilation, 1), use_bias=False
        )(y)
        y = layers.Dropout(DROPOUT)(_conv(_normalized(y), width, 1))
        x = layers.ReLU()(layers.Add()([x, over_bands, y]))
    return layers.GlobalAveragePooling2D()(x)


def stack(pattern: str) -> Callable[[keras.KerasTensor, int], keras.KerasTensor]:
    """A causal network of residual blocks that share by a pattern.

    Its stem finds shapes in time and frequency, and pools neighboring bands, as each
    speaker's lie a little higher or lower.
    """

    def network(inputs: keras.KerasTensor, width: int) -> keras.KerasTensor:
        x = layers.ZeroPadding1D((4, 0))(inputs)
        x = layers.Reshape((*x.shape[1:], 1))(x)
        x = layers.Conv2D(8, 5, strides=(2, 1), use_bias=False)(x)
        x = layers.MaxPooling2D((1, 4))(_normalized(x))
        x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x)
        x = _normalized(layers.Conv1D(width, 1, use_bias=False)(x))
        x = ks.SharedStack(
            ks.blocks.SeparableConvBlock(
                7, rank=1, padding="causal", dropout=DROPOUT, momentum=MOMENTUM
            ),
            pattern,
            private=("depthwise", "normalization"),
        )(x)
        return layers.GlobalAveragePooling1D()(x)

    return network


NETWORKS: dict[str, Callable[[keras.KerasTensor, int], keras.KerasTensor]] = {
    "tied": stack("AAAA"),
    "unshared": stack("ABC"),
    "ds_cnn": ds_cnn,
    "ds_cnn_1d": ds_cnn_1d,
    "bc_resnet": bc_resnet,
}


def build(
    name: str, width: int, shape: tuple[int, int], num_labels: int
) -> keras.Model:
    """A classifier of features, whose outputs are logits.

    Args:
        name: One of `NETWORKS`.
        width: Channels.
        shape: Frames and bands.
        num_labels: Number of words.
    """
    inputs = keras.Input(shape, name="features")
    x = layers.Dropout(2 * DROPOUT)(NETWORKS[name](inputs, width))
    return keras.Model(inputs, layers.Dense(num_labels, name="head")(x), name=name)


def _conv(x: keras.KerasTensor, width: int, *args, **kwargs) -> keras.KerasTensor:
    conv = layers.Conv2D(width, *args, padding="same", use_bias=False, **kwargs)
    return _normalized(conv(x))


def _causal(x: keras.KerasTensor, conv: layers.Layer, size: int) -> keras.KerasTensor:
    x = _normalized(conv(layers.ZeroPadding1D((size - 1, 0))(x)))
    return layers.Dropout(DROPOUT / 2)(x)


def _normalized(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU()(layers.BatchNormalization(momentum=MOMENTUM)(x))
