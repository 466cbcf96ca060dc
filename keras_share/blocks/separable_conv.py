"""`SeparableConvBlock`: a depthwise and a pointwise convolution."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_share.blocks.block import Block
from keras_share.layers import checks


@keras.saving.register_keras_serializable(package="keras_share")
class SeparableConvBlock(Block):
    """Depthwise separable convolution with batch normalization and a residual.

    With `residual=True` the block computes
    `dropout(activation(normalization(pointwise(depthwise(x))))) + x`: the activation
    is inside the residual branch, so that the sum itself is linear.

    The sublayers, to be picked by name: `depthwise`, `pointwise`, `normalization`,
    `activation`, `dropout`. The convolutions have no bias, as the normalization adds
    one. Channels come last, whatever `keras.config.image_data_format()` says.

    Args:
        kernel_size: Size of the depthwise kernel: an integer or one per axis. Padding
            keeps the length of each axis.
        filters: Number of output channels; None keeps the number of input channels.
        rank: Number of axes the convolution runs over: 1 for sequences, 2 for images.
        activation: Activation after the normalization.
        residual: Whether to add the input; the number of channels must then stay.
        dropout: Rate of dropout at the end of the residual branch.
        momentum: Momentum of the moving statistics of the normalization. In a run of
            a few hundred steps, 0.9 lets them arrive where 0.99 does not.
        padding: `"same"`, or `"causal"`: along the first axis, time, the kernel reads
            no later place, so that `keras_share.streaming` can take the block.
        seed: Seed of the dropout, an integer; None draws one.
        **kwargs: `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`
            for both kernels, the same of `bias` for the `beta` of the normalization;
            and keyword arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        inputs: `(batch, length, channels)` if `rank` is 1, otherwise
            `(batch, height, width, channels)`. A mask of a sequence is passed on and
            keeps padding out of the statistics of the normalization; the convolution
            reads the values at masked positions like any others.
        training: Whether the normalization uses the statistics of the batch and
            dropout is active.

    Output shape:
        The shape of `inputs`, with `filters` channels if given.

    Raises:
        ValueError: If an argument is out of range, if the rank of the input does not
            match `rank`, or if `residual` is True and `filters` differs from the
            number of input channels.

    Example:
    >>> import keras
    >>> from keras_share.blocks import SeparableConvBlock
    >>> block = SeparableConvBlock(kernel_size=3)
    >>> tuple(block(keras.random.normal((4, 8, 8, 16))).shape)
    (4, 8, 8, 16)

    Reference:
    - [Chollet, 2017](https://arxiv.org/abs/1610.02357)
    - [Howard et al., 2017](https://arxiv.org/abs/1704.04861)
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int] = 3,
        filters: int | None = None,
        rank: int = 2,
        activation: str | Callable | None = "relu",
        residual: bool = True,
        dropout: float = 0.0,
        momentum: float = 0.99,
        seed: int | None = None,
        padding: str = "same",
        **kwargs: Any,
    ):
        super().__init__(activation, dropout, seed, **kwargs)
        self.padding = checks.check_padding(padding)
        if rank not in (1, 2):
            raise ValueError(
                f"`rank` must be 1 (sequences) or 2 (images). Received: rank={rank!r}"
            )
        self.rank = rank
        self.kernel_size = _check_kernel_size(kernel_size, rank)
        if filters is not None:
            checks.check_positive_integer("filters", filters)
        self.filters = filters
        self.residual = residual
        self.momentum = checks.check_rate("momentum", momentum)

        depthwise = layers.DepthwiseConv1D if rank == 1 else layers.DepthwiseConv2D
        self.depthwise = self._sublayer(
            depthwise,
            "depthwise",
            self.kernel_size,
            padding="same" if padding == "same" else "valid",
            data_format="channels_last",
            use_bias=False,
            **self.weight_arguments(kernel="depthwise_"),
        )
        # Positions of a sequence stay where they are, and a mask with them; for images
        # a mask has no agreed meaning.
        self.depthwise.supports_masking = rank == 1
        self.normalization = self._sublayer(
            layers.BatchNormalization,
            "normalization",
            momentum=momentum,
            **self.weight_arguments(bias="beta_"),
        )
        self.activation_layer = self._sublayer(
            layers.Activation, "activation", self.activation
        )
        self.dropout_layer = self._dropout("dropout")

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Builds the sublayers; creates those that follow the number of channels."""
        channels = self._check_input(input_shape)
        self.input_spec = layers.InputSpec(ndim=self.rank + 2, axes={-1: channels})
        pointwise = layers.Conv1D if self.rank == 1 else layers.Conv2D
        self.pointwise = self._sublayer(
            pointwise,
            "pointwise",
            self.filters or channels,
            1,
            data_format="channels_last",
            use_bias=False,
            **self.weight_arguments(kernel="kernel_"),
        )
        self.pointwise.supports_masking = self.rank == 1

        self.depthwise.build(input_shape)
        self.pointwise.build(input_shape)
        output_shape = self.compute_output_shape(input_shape)
        for layer in (self.normalization, self.activation_layer, self.dropout_layer):
            layer.build(output_shape)

    def _check_input(self, input_shape: Sequence[int | None]) -> int:
        axes = "length" if self.rank == 1 else "height, width"
        if len(input_shape) != self.rank + 2 or input_shape[-1] is None:
            raise ValueError(
                f"With rank={self.rank} the input must have the shape (batch, {axes}, "
                "channels) with a known number of channels. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        channels = input_shape[-1]
        if self.residual and self.filters not in (None, channels):
            raise ValueError(
                "With residual=True `filters` must be None or the number of input "
                f"channels ({channels}); set residual=False to change the number of "
                f"channels. Received: filters={self.filters}"
            )
        return channels

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Applies the block; see the class for the arguments."""
        x = inputs if self.padding == "same" else self._padded(inputs)
        x = self.pointwise(self.depthwise(x))
        x = self.normalization(x, training=training, mask=mask)
        x = self.activation_layer(x)
        x = self.dropout_layer(x, training=training)
        return x + inputs if self.residual else x

    def _padded(self, x: Any) -> Any:
        size, *others = self.depthwise.kernel_size
        around = [[(n - 1) // 2, n // 2] for n in others]
        if any(map(any, around)):
            x = ops.pad(x, [[0, 0], [0, 0], *around, [0, 0]])
        return ops.pad(x, [[0, 0], [size - 1, 0], *[[0, 0]] * self.rank])

    def compute_output_shape(
        self, input_shape: Sequence[int | None]
    ) -> tuple[int | None, ...]:
        """Returns `input_shape`, with `filters` channels if given."""
        return (*input_shape[:-1], self.filters or input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the block."""
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "filters": self.filters,
            "rank": self.rank,
            "residual": self.residual,
            "momentum": self.momentum,
            "padding": self.padding,
        }


def _check_kernel_size(
    kernel_size: int | Sequence[int], rank: int
) -> int | tuple[int, ...]:
    if isinstance(kernel_size, int):
        return checks.check_positive_integer("kernel_size", kernel_size)
    sizes = tuple(kernel_size)
    if len(sizes) != rank or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise ValueError(
            "`kernel_size` must be an integer of at least 1, or one for each of the "
            f"rank={rank} axes. Received: kernel_size={kernel_size!r}"
        )
    return sizes
