"""The block that repeats in the networks of all tasks."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

# What every site keeps for itself: a hundredth of its weights.
PRIVATE = ("depthwise", "normalization")
MOMENTUM = 0.95
_DAMPING = 0.3  # of what a block adds, so that a deep stack starts near the identity


@keras.saving.register_keras_serializable(package="proof")
class ProofBlock(layers.Layer):
    """A depthwise convolution, and two dense layers at every place.

    `x + project(relu(expand(relu(normalization(depthwise(x))))))`, ConvNeXt's order
    with the normalization of MobileNet, which becomes part of the operator before it.

    Args:
        kernel_size: Height and width of the depthwise convolution. A sequence is an
            image of height 1: the converter needs fewer operators for it than for one
            of rank 1, and makes one of convolution and normalization.
        expansion: Width between the dense layers, in widths of the block.
        causal: Whether a place sees only itself and those to its left.
        **kwargs: Base layer keyword arguments, such as `name`.

    Reference:
    - [Liu et al., 2022](https://arxiv.org/abs/2201.03545)
    - [Sandler et al., 2018](https://arxiv.org/abs/1801.04381)
    """

    def __init__(
        self,
        kernel_size: Sequence[int] = (3, 3),
        expansion: int = 4,
        causal: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.kernel_size = tuple(kernel_size)
        self.expansion = expansion
        self.causal = causal
        height, width = self.kernel_size
        if causal:
            before = ((height - 1, 0), (width - 1, 0))
            self.padding = layers.ZeroPadding2D(before, name="padding")
        self.depthwise = layers.DepthwiseConv2D(
            self.kernel_size,
            padding="valid" if causal else "same",
            use_bias=False,
            depthwise_initializer=keras.initializers.RandomNormal(
                stddev=(height * width) ** -0.5
            ),
            name="depthwise",
        )
        self.normalization = layers.BatchNormalization(
            momentum=MOMENTUM, name="normalization"
        )
        # Behind it the normalization can only fold into the depthwise kernel, which is
        # private, and not into the dense one, which isn't.
        self.activation = layers.ReLU(name="activation")

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Builds the layers, for as many channels as come in."""
        width = input_shape[-1]
        wide = self.expansion * width
        # Without biases, which in a file each site would have for itself.
        self.expand = layers.Dense(
            wide,
            "relu",
            use_bias=False,
            kernel_initializer="he_normal",
            name="expand",
        )
        self.project = layers.Dense(
            width,
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=_DAMPING * wide**-0.5
            ),
            name="project",
        )
        if self.causal:
            self.padding.build(input_shape)
        self.depthwise.build(input_shape)
        self.normalization.build(input_shape)
        self.expand.build(input_shape)
        self.project.build((*input_shape[:-1], wide))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Applies the block."""
        x = self.padding(inputs) if self.causal else inputs
        x = self.normalization(self.depthwise(x), training=training)
        return inputs + self.project(self.expand(self.activation(x)))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the block."""
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "expansion": self.expansion,
            "causal": self.causal,
        }
