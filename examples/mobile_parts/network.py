"""The classifier of images: a stem, blocks that may share, and a head."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

import keras_share as ks

# Each halves height and width; the last one, to the width of the blocks, follows.
_STEM_FILTERS = (16, 32, 64)
# What each site keeps for itself: 1% of its weights.
PRIVATE = ("depthwise", "normalization")
_EXPANSION = 4
_MOMENTUM = 0.9
_DROPOUT = 0.2


@keras.saving.register_keras_serializable(package="mobile_vision")
class MobileBlock(layers.Layer):
    """A depthwise convolution, and two dense layers at every place of the image.

    `x + project(relu(expand(relu(normalization(depthwise(x))))))`: the order is that of
    ConvNeXt, normalization and activations are those of MobileNetV2, which become part
    of the operator before them. All but 1% of the weights are in the dense layers.

    Args:
        kernel_size: Height and width of the depthwise kernel.
        **kwargs: Base layer keyword arguments, such as `name`.

    Reference:
    - [Sandler et al., 2018](https://arxiv.org/abs/1801.04381)
    - [Liu et al., 2022](https://arxiv.org/abs/2201.03545)
    """

    def __init__(self, kernel_size: int = 3, **kwargs: Any):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size
        self.depthwise = layers.DepthwiseConv2D(
            kernel_size, padding="same", use_bias=False, name="depthwise"
        )
        self.normalization = layers.BatchNormalization(
            momentum=_MOMENTUM, name="normalization"
        )
        # Behind it the normalization can only fold into the depthwise kernel, which is
        # private, and not into the dense one, which isn't.
        self.activation = layers.ReLU(name="activation")

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Builds the layers, for as many channels as come in."""
        width = input_shape[-1]
        wide = (*input_shape[:-1], _EXPANSION * width)
        self.expand = layers.Dense(_EXPANSION * width, "relu", name="expand")
        self.project = layers.Dense(width, kernel_initializer="zeros", name="project")
        for layer in (self.depthwise, self.normalization, self.expand):
            layer.build(input_shape)
        self.project.build(wide)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Applies the block."""
        x = self.normalization(self.depthwise(inputs), training=training)
        return inputs + self.project(self.expand(self.activation(x)))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the block."""
        return {**super().get_config(), "kernel_size": self.kernel_size}


def build_network(
    shape: Sequence[int],
    num_classes: int,
    width: int,
    pattern: ks.SharingPattern,
    relax: ks.layers.Relaxation | None = None,
) -> keras.Model:
    """A classifier of images.

    Args:
        shape: Height, width and channels of an image; the blocks see a 16th of the
            height and width.
        num_classes: Number of classes; the outputs are logits.
        width: Channels of the blocks.
        pattern: Which blocks share their dense layers.
        relax: What makes the dense layers of blocks that share differ.
    """
    inputs = x = keras.Input(shape, name="image")
    for i, filters in enumerate((*_STEM_FILTERS, width)):
        x = layers.Conv2D(
            filters, 3, 2, padding="same", use_bias=False, name=f"stem_{i}"
        )(x)
        x = layers.BatchNormalization(
            momentum=_MOMENTUM, name=f"stem_{i}_normalization"
        )(x)
        x = layers.ReLU(name=f"stem_{i}_activation")(x)
    parts = relax and {"expand": relax, "project": relax}
    x = ks.SharedStack(
        MobileBlock(name="block"), pattern, PRIVATE, relax=parts, name="stack"
    )(x)
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    x = layers.Dropout(_DROPOUT, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="head")(x))


def build_networks(
    shape: Sequence[int], num_classes: int, width: int, num_sites: int
) -> dict[str, keras.Model]:
    """The networks that are compared.

    `"dense"` shares nothing, `"tied"` one block at all sites, `"relaxed"` too, but
    each site scales the outputs of the dense layers by numbers of its own. `"small"`
    shares nothing, and has so many channels that it has about as many weights as the
    tied one: what else one could have for the same bytes.
    """
    unshared, shared = (
        ks.SharingPattern.get(family, num_sites) for family in ("unshared", "shared")
    )

    def build(*args: Any) -> keras.Model:
        return build_network(shape, num_classes, *args)

    def weights(width: int, blocks: int) -> int:
        """About all of them: dense layers, and the stem's last convolution."""
        return 2 * _EXPANSION * width**2 * blocks + 9 * _STEM_FILTERS[-1] * width

    narrow = min(
        range(8, width + 8, 8),
        key=lambda narrow: abs(weights(narrow, num_sites) - weights(width, 1)),
    )
    return {
        "dense": build(width, unshared),
        "tied": build(width, shared),
        "relaxed": build(width, shared, ks.Scale()),
        "small": build(narrow, unshared),
    }
