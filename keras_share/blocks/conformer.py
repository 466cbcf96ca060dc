"""`ConformerBlock`: self-attention and convolution between two half feed-forwards."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
from keras import layers, ops

from keras_share.blocks.block import Block
from keras_share.blocks.windowed_attention import WindowedAttention
from keras_share.layers import checks


@keras.saving.register_keras_serializable(package="keras_share")
class ConformerBlock(Block):
    """Block of a conformer, for speech and other long sequences.

    Four modules in turn, each normalized first and added to its input: half a
    feed-forward, self-attention, convolution, half a feed-forward; then a layer
    normalization. The convolution module is a pointwise layer to twice the width, a
    gated linear unit, a depthwise convolution, batch normalization, the activation,
    and a pointwise layer. Attention is plain multi-head attention: the relative
    positions of the paper are left out, so add positions to the input where the
    convolution does not say enough about them. On a stream
    (`keras_share.streaming`) the convolution is causal, and attention a
    `WindowedAttention`.

    The sublayers, to be picked by name: `feedforward_1_norm`,
    `feedforward_1_intermediate`, `feedforward_1_intermediate_dropout`,
    `feedforward_1_output`, `feedforward_1_dropout`; `attention_norm`, `attention`,
    `attention_dropout`; `convolution_norm`, `convolution_expansion`,
    `convolution_depthwise`, `convolution_batch_norm`, `convolution_activation`,
    `convolution_output`, `convolution_dropout`; `feedforward_2_norm` and on as for
    the first; `output_norm`. The parts that a `SharedStack` can share on their own are
    these, and `attention`, `convolution`, `feedforward_1` and `feedforward_2` without
    their normalization.

    Args:
        num_heads: Number of attention heads; must divide the width of the input.
        intermediate_dim: Width of the hidden layer of both feed-forwards.
        kernel_size: Length of the depthwise kernel.
        padding: `"same"`, or `"causal"`: each position then sees earlier ones only, and
            reads zeros before the first.
        window: With causal padding: how many positions attention sees, the present one
            among them.
        dropout: Rate of dropout on the attention weights, on the hidden layer of the
            feed-forwards and on the output of each module.
        activation: Activation of the feed-forwards and of the convolution module.
        momentum: Momentum of the moving statistics of the BatchNormalization.
        seed: Seed of all dropout, an integer; None draws one.
        **kwargs: `kernel_initializer`, `kernel_regularizer`, `kernel_constraint` and
            the same of `bias`, as in Keras's layers; and keyword arguments of
            `keras.layers.Layer`, such as `name`.

    Call arguments:
        inputs: Sequences of shape `(batch, length, width)`.
        padding_mask: Boolean, `(batch, length)`; False marks padding. No position
            attends to padding, the convolution reads zeros there, and it stays out
            of the statistics of the batch normalization.
        mask: Filled in by Keras with the mask attached to `inputs`, if any; used where
            there is no `padding_mask`.
        training: Whether the batch normalization uses the statistics of the batch and
            dropout is active.

    Output shape:
        The shape of `inputs`.

    Raises:
        ValueError: If an argument is out of range, if the input is not of rank 3, or
            if `num_heads` does not divide its width.

    Example:
    >>> import keras
    >>> from keras_share.blocks import ConformerBlock
    >>> block = ConformerBlock(num_heads=2, intermediate_dim=64, kernel_size=7)
    >>> tuple(block(keras.random.normal((4, 10, 16))).shape)
    (4, 10, 16)

    Reference:
    - [Gulati et al., 2020](https://arxiv.org/abs/2005.08100)
    """

    components: ClassVar[dict[str, tuple[str, ...]]] = {
        "attention": ("attention",),
        "convolution": (
            "convolution_expansion",
            "convolution_depthwise",
            "convolution_output",
        ),
        **{
            name: (f"{name}_intermediate", f"{name}_output")
            for name in ("feedforward_1", "feedforward_2")
        },
    }

    def __init__(
        self,
        num_heads: int,
        intermediate_dim: int,
        kernel_size: int = 31,
        dropout: float = 0.0,
        activation: str | Callable | None = "swish",
        momentum: float = 0.99,
        seed: int | None = None,
        padding: str = "same",
        window: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(activation, dropout, seed, **kwargs)
        self.num_heads = checks.check_positive_integer("num_heads", num_heads)
        self.intermediate_dim = checks.check_positive_integer(
            "intermediate_dim", intermediate_dim
        )
        self.kernel_size = checks.check_positive_integer("kernel_size", kernel_size)
        self.momentum = checks.check_rate("momentum", momentum)
        self.padding = checks.check_padding(padding)
        if (padding == "causal") != (window is not None):
            raise ValueError(
                "`window` goes with padding='causal', and has to be given there. "
                f"Received: padding={padding!r}, window={window!r}"
            )
        if window is not None:
            checks.check_positive_integer("window", window)
        self.window = window

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates and builds the sublayers for the width of the input."""
        width = checks.check_sequence(input_shape, self.num_heads)
        self.input_spec = layers.InputSpec(ndim=3, axes={-1: width})

        self.feedforward_1 = self._feedforward("feedforward_1", input_shape)

        self.attention_norm = self._norm("attention_norm")
        if self.window is None:
            self.attention = self._attention(self.num_heads, width // self.num_heads)
            self.attention.build(input_shape, input_shape)
        else:
            kind = WindowedAttention
            self.attention = self._attention(self.num_heads, self.window, kind)
            self.attention.build(input_shape)
        self.attention_dropout = self._dropout("attention_dropout")

        # `Dense` is the pointwise convolution: one operator in a .tflite file, where
        # `Conv1D` is three.
        self.convolution_norm = self._norm("convolution_norm")
        self.convolution_expansion = self._dense("convolution_expansion", 2 * width)
        self.convolution_depthwise = self._sublayer(
            layers.DepthwiseConv1D,
            "convolution_depthwise",
            kernel_size=self.kernel_size,
            padding="same" if self.padding == "same" else "valid",
            data_format="channels_last",
            use_bias=False,
            **self.weight_arguments(kernel="depthwise_"),
        )
        self.convolution_batch_norm = self._sublayer(
            layers.BatchNormalization, "convolution_batch_norm", momentum=self.momentum
        )
        self.convolution_activation = self._sublayer(
            layers.Activation, "convolution_activation", activation=self.activation
        )
        self.convolution_output = self._dense("convolution_output", width)
        self.convolution_dropout = self._dropout("convolution_dropout")

        self.feedforward_2 = self._feedforward("feedforward_2", input_shape)
        self.output_norm = self._norm("output_norm")
        for layer in (
            self.attention_norm,
            self.attention_dropout,
            self.convolution_norm,
            self.convolution_expansion,
            self.convolution_depthwise,
            self.convolution_batch_norm,
            self.convolution_activation,
            self.convolution_output,
            self.convolution_dropout,
            self.output_norm,
        ):
            layer.build(input_shape)

    def _feedforward(
        self, name: str, input_shape: Sequence[int | None]
    ) -> list[layers.Layer]:
        width, hidden = input_shape[-1], self.intermediate_dim
        assert width is not None  # `check_sequence` has seen to it
        built = []
        for layer, units in (
            (self._norm(f"{name}_norm"), width),
            (
                self._dense(f"{name}_intermediate", hidden, activation=self.activation),
                width,
            ),
            (self._dropout(f"{name}_intermediate_dropout"), hidden),
            (self._dense(f"{name}_output", width), hidden),
            (self._dropout(f"{name}_dropout"), width),
        ):
            layer.build((*input_shape[:-1], units))
            built.append(layer)
        return built

    def _norm(self, name: str) -> layers.Layer:
        return self._sublayer(layers.LayerNormalization, name)

    def call(
        self,
        inputs: Any,
        padding_mask: Any = None,
        mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        """Applies the block; see the class for the arguments."""
        mask = mask if padding_mask is None else padding_mask
        x = inputs + 0.5 * self._feed_forward(self.feedforward_1, inputs, training)
        x = x + self._attend(x, mask, training)
        x = x + self._convolve(x, mask, training)
        x = x + 0.5 * self._feed_forward(self.feedforward_2, x, training)
        return self.output_norm(x)

    def _feed_forward(
        self, sublayers: list[layers.Layer], x: Any, training: Any
    ) -> Any:
        norm, intermediate, intermediate_dropout, output, dropout = sublayers
        x = intermediate_dropout(intermediate(norm(x)), training=training)
        return dropout(output(x), training=training)

    def _attend(self, x: Any, mask: Any, training: Any) -> Any:
        x = self.attention_norm(x)
        if self.window is not None:
            x = self.attention(x, mask=mask, training=training)
        else:
            # As keys only: a query with no key left has no defined attention.
            keys = None if mask is None else ops.expand_dims(ops.cast(mask, "bool"), -2)
            x = self.attention(x, x, attention_mask=keys, training=training)
        return self.attention_dropout(x, training=training)

    def _convolve(self, x: Any, mask: Any, training: Any) -> Any:
        x = self.convolution_expansion(self.convolution_norm(x))
        value, gate = ops.split(x, 2, axis=-1)
        x = value * ops.sigmoid(gate)
        if mask is not None:
            x = x * ops.expand_dims(ops.cast(mask, x.dtype), -1)
        if self.padding == "causal":
            x = ops.pad(x, [[0, 0], [self.kernel_size - 1, 0], [0, 0]])
        x = self.convolution_depthwise(x)
        x = self.convolution_batch_norm(x, training=training, mask=mask)
        x = self.convolution_output(self.convolution_activation(x))
        return self.convolution_dropout(x, training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the block."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
            "kernel_size": self.kernel_size,
            "momentum": self.momentum,
            "padding": self.padding,
            "window": self.window,
        }
