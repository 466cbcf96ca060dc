"""Rules for layers with kernels: Dense, convolutions, embeddings."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import layers, ops

from keras_share.flat.folding import is_linear
from keras_share.flat.written import LayerUse, on_symbols
from keras_share.layers.copying import copy_layer
from keras_share.layers.transposed import Transposed
from keras_share.quantize.look_up import LookUp
from keras_share.quantize.rules import (
    QuantizeRule,
    register_rule,
    register_rules,
    writes,
)

# Computed as part of the operator before them.
FUSED_ACTIVATIONS = ("linear", "relu", "relu6")
TRANSPOSED_CONVOLUTIONS = (layers.Conv1DTranspose, layers.Conv2DTranspose)


def _channels_first(layer: keras.Layer) -> str | None:
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "its channels are not the last axis"
    return None


def _einsum_channels(layer: layers.EinsumDense) -> tuple[int, ...]:
    """The axes that the output keeps, if they are the kernel's last ones.

    One range for all where they aren't: the converter transposes such a kernel.
    """
    inputs, rest = layer.equation.replace(" ", "").split(",")
    axes, outputs = rest.split("->")
    kept = [axis for axis in axes if axis in outputs and axis not in inputs]
    if not kept or not axes.endswith("".join(kept)):
        return ()
    return tuple(range(-len(kept), 0))


def split_activation(layer: keras.Layer) -> bool:
    """Whether a layer has an activation function that is an operator of its own."""
    activation = getattr(layer, "activation", None)
    if isinstance(layer, TRANSPOSED_CONVOLUTIONS):
        return not is_linear(layer)  # whose operator has none
    name = getattr(activation, "__name__", "linear")
    plain = activation in (None, *map(keras.activations.get, FUSED_ACTIVATIONS))
    return not (plain and name in FUSED_ACTIVATIONS)


def activate(activation: Callable[..., Any], x: Any) -> Any:
    """Applies an activation function, as one operation if it is one of Keras's."""
    if isinstance(activation, keras.Layer):
        return activation(x)
    operation = _operation_of(activation)
    if operation is not None:
        return operation(x)
    # Opened if it can be; it may not run on symbolic tensors.
    name = getattr(activation, "__name__", "")
    name = name if name.isidentifier() else "activation"
    return layers.Activation(activation, name=name)(x)


def _operation_of(activation: Callable[..., Any]) -> Callable[[Any], Any] | None:
    """An activation function as an operation of `keras.ops`, or None."""
    name = getattr(activation, "__name__", "")
    operation = getattr(ops, name, None)
    if operation is None or activation is not getattr(keras.activations, name, None):
        return None
    # Functions of `keras.activations` don't all take symbolic tensors, and have
    # defaults of their own.
    taken = inspect.signature(operation).parameters
    parameters = inspect.signature(activation).parameters.items()
    defaults = {k: p.default for k, p in parameters if p.default is not p.empty}
    return partial(operation, **{k: v for k, v in defaults.items() if k in taken})


def linear_then_activation(use: LayerUse, inputs: Any, **kwargs: Any) -> Any:
    """A layer with its activation function as an operation behind it."""
    layer = use.op

    def linear() -> keras.Layer:
        return copy_layer(layer, activation="linear")

    return activate(layer.activation, use.call(linear, "linear", inputs, layer.weights))


def product_then_bias(use: LayerUse, inputs: Any, **kwargs: Any) -> Any:
    """A `Dense` or `Transposed` with its bias and activation as operations behind it.

    What the converter makes of a matrix that is used in both directions has neither.
    """
    layer = use.op
    bias = layer.bias if layer.use_bias else None
    weights = [v for v in layer.weights if v is not bias]

    def product():
        if isinstance(layer, Transposed):
            changes = {"use_bias": False, "activation": None, "name": "product"}
            return layer.use_of(layer.layer, **changes)
        return layers.Dense(layer.units, use_bias=False, name="product")

    x = use.call(product, "product", inputs, weights)
    return activate(layer.activation, use.affine(x, offset=bias))


@writes(
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    refuse=_channels_first,
    how="a depthwise and a pointwise convolution",
)
def _separable(use: LayerUse, inputs: Any) -> Any:
    layer = use.op
    two = isinstance(layer, layers.SeparableConv2D)
    depthwise = layers.DepthwiseConv2D if two else layers.DepthwiseConv1D
    pointwise = layers.Conv2D if two else layers.Conv1D
    x = use.call(
        lambda: depthwise(
            layer.kernel_size,
            strides=layer.strides if two else layer.strides[0],
            padding=layer.padding,
            depth_multiplier=layer.depth_multiplier,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
            use_bias=False,
            name="depthwise",
        ),
        "depthwise",
        inputs,
        [layer.depthwise_kernel],
    )
    x = use.call(
        lambda: pointwise(
            layer.filters,
            1,
            data_format=layer.data_format,
            use_bias=layer.use_bias,
            name="pointwise",
        ),
        "pointwise",
        x,
        [layer.pointwise_kernel, *([layer.bias] if layer.use_bias else [])],
    )
    return activate(layer.activation, x)


@writes(layers.Activation, how="as the function of its name")
def _activation(use: LayerUse, inputs: Any) -> Any:
    activation = use.op.activation
    operation = _operation_of(activation)
    if operation is not None:
        return operation(inputs)
    with on_symbols():
        return activation(inputs)


register_rules(
    (layers.Dense, layers.Conv1D, layers.Conv2D),
    QuantizeRule(
        weights=("kernel",),
        refuse=_channels_first,
        how="int8 kernel with a range per output channel, int32 bias",
    ),
)
register_rules(
    (layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    QuantizeRule(
        weights=("kernel",),
        channels=(-2, -1),
        refuse=_channels_first,
        how="int8 kernel with a range per channel, int32 bias",
    ),
)
register_rules(
    TRANSPOSED_CONVOLUTIONS,
    QuantizeRule(
        weights=("kernel",),
        channels=(-2,),
        min_bits=8,
        refuse=_channels_first,
        how="int8 kernel with a range per output channel, int32 bias",
    ),
)
register_rule(
    layers.EinsumDense,
    QuantizeRule(
        weights=("kernel",),
        channels=_einsum_channels,
        how="int8 kernel with a range per output channel, int32 bias; one range where "
        "the output's axes are not the kernel's last",
    ),
)
register_rule(
    layers.Embedding,
    QuantizeRule(
        weights=("embeddings",),
        channels=(),
        min_bits=8,
        output="weights",
        how="int8 table with one range, which the output has too",
    ),
)
register_rule(
    Transposed,
    QuantizeRule(
        weights=("matrix",),
        channels=(),
        min_bits=8,
        how="product with the int8 matrix of the other layer, which has one range",
    ),
)
register_rule(
    layers.PReLU,
    QuantizeRule(
        weights=("alpha",), channels=(), min_bits=8, how="int8 slopes with one range"
    ),
)
register_rule(
    LookUp,
    QuantizeRule(
        how="any function of each number alone: int8, in a table of 256 integers"
    ),
)
