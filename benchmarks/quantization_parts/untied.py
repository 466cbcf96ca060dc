"""Networks that share nothing, in Keras 3 or in the legacy tf_keras."""

from types import ModuleType
from typing import Any


def separable(
    keras: ModuleType,
    shape: tuple[int, int, int],
    *,
    width: int,
    num_sites: int,
    stem: tuple[int, int] = (3, 3),
    strides: tuple[int, int] = (1, 1),
    kernel: tuple[int, int] = (3, 3),
    dropout: float = 0.0,
    momentum: float = 0.9,
) -> Any:
    """The nearest to the separable networks that TFMOT accepts.

    Args:
        keras: Keras 3 or tf_keras.
        shape: Height, width and channels of the input; a sequence has width 1.
        width: Channels of the blocks.
        num_sites: Number of blocks.
        stem: Size of the first kernel.
        strides: Of the first convolution.
        kernel: Size of the depthwise kernels.
        dropout: Rate of dropout.
        momentum: Of the normalization.
    """
    layers = keras.layers

    def normalized(x):
        return layers.ReLU()(layers.BatchNormalization(momentum=momentum)(x))

    inputs = keras.Input(shape)
    conv = layers.Conv2D(width, stem, strides, padding="same", use_bias=False)
    x = normalized(conv(inputs))
    for _ in range(num_sites):
        y = layers.DepthwiseConv2D(kernel, padding="same", use_bias=False)(x)
        y = normalized(layers.Conv2D(width, 1, use_bias=False)(y))
        x = layers.Add()([layers.Dropout(dropout)(y) if dropout else y, x])
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(dropout)(x) if dropout else x
    return keras.Model(inputs, layers.Dense(10)(x))


def plain(keras: ModuleType, shape: tuple[int, int, int], *, width: int) -> Any:
    """Convolutions and dense layers in a row."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(width, 3, padding="same", activation="relu"),
            layers.Conv2D(width, 3, padding="same", activation="relu"),
            layers.Conv2D(width, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(4 * width, activation="relu"),
            layers.Dense(10),
        ]
    )


def attention(keras: ModuleType, shape: tuple[int, int], *, width: int) -> Any:
    """Attention and layer normalization, as transformers and conformers have them."""
    layers = keras.layers
    inputs = keras.Input(shape)
    x = layers.Dense(width)(inputs)
    x = layers.Add()([x, layers.MultiHeadAttention(4, width // 4)(x, x)])
    x = layers.Flatten()(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(10)(x))
