"""Operations on weights of an open layer, as what layers of Keras do with their own."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import keras
from keras import layers, tree

from keras_share.flat.any_batch import Call
from keras_share.flat.tensors import tensors
from keras_share.flat.use import Use, WeightOf

Weights = list[keras.Variable]

_AFFINE = {"Add": "offset", "Multiply": "scale"}
_CONVOLUTIONS: dict[str, tuple[type[keras.Layer], ...]] = {
    "Conv": (layers.Conv1D, layers.Conv2D, layers.Conv3D),
    "ConvTranspose": (
        *(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
    ),
    "DepthwiseConv": (layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    "SeparableConv": (layers.SeparableConv1D, layers.SeparableConv2D),
}


def on_one_input(use: Use) -> tuple[Use, Callable[..., Any]] | None:
    """A product, sum or convolution with weights, as a use of the layer that has them.

    So that a kernel in a layer of one's own has the rules of one in a layer of Keras,
    and is stored in the same way.

    Returns:
        The use, of one input, and the function that writes it (called with a
        `LayerUse` and the input); None if no layer computes this.
    """
    if isinstance(use.op, keras.Layer) or len(use.args) < 2:
        return None
    x, *weights = use.args
    if isinstance(x, WeightOf) and type(use.op).__name__ in _AFFINE:
        x, weights = weights[0], [x]
    if not isinstance(x, keras.KerasTensor) or isinstance(x, WeightOf):
        return None
    if not all(isinstance(weight, WeightOf) for weight in weights):
        return None
    function = _function(use.op, x, [weight.variable for weight in weights])
    if function is None:
        return None
    return replace(use, op=weights[0].owner, args=(x,), kwargs={}), function


def with_biases(
    calls: list[Call], inputs: list[keras.KerasTensor], weights: Weights, outputs: Any
) -> list[Call]:
    """What a layer runs, with a kernel's bias among the arguments beside the kernel.

    Args:
        calls: What is run, in order.
        inputs: What stands for weights in it.
        weights: These weights.
        outputs: What it is run for.
    """
    read = Counter(tensors([(call.args, call.kwargs) for call in calls]))
    read.update(tensors(outputs))
    weight_of = {id(x): v for x, v in zip(inputs, weights, strict=True)}
    merged: dict[int, Call] = {}
    for call in calls:
        added = call.args if type(call.op).__name__ == "Add" else ()
        for x, bias in (added, added[::-1]) if len(added) == 2 else ():
            before = merged.get(id(x))
            if before is None or id(bias) not in weight_of or read[x] > 1:
                continue
            args = (*before.args, bias)
            beside = [weight_of[id(arg)] for arg in args[1:] if id(arg) in weight_of]
            if (
                len(beside) == len(args) - 1 > 1
                and bias.shape == x.shape[-1:]
                and _function(before.op, args[0], beside)
            ):
                del merged[id(x)]
                call = Call(before.op, args, {}, call.outputs)  # noqa: PLW2901
                break
        merged[id(tree.flatten(call.outputs)[0])] = call
    return list(merged.values())


def _function(
    op: keras.Operation, x: Any, weights: Weights
) -> Callable[..., Any] | None:
    """What writes an operation with weights, of which the last may be a bias."""
    name, weight = type(op).__name__, weights[0]
    rank, fits = len(weight.shape), weight.shape[:1] == x.shape[-1:]
    if name in _AFFINE and rank == 1 and fits and len(weights) == 1:
        return lambda use, x: use.affine(x, **{_AFFINE[name]: weight})
    product = name in ("Dot", "Matmul") or (name == "Tensordot" and op.axes == 1)
    if product and rank == 2 and fits:
        return lambda use, x: use.dense(x, *weights)
    kinds = _CONVOLUTIONS.get(name, ())
    has_bias = len(weights) > 1 and len(weights[-1].shape) == 1
    if not 3 <= rank < 3 + len(kinds):
        return None
    how = {
        key: getattr(op, key)
        for key in ("strides", "padding", "data_format", "dilation_rate")
    }
    if has_bias and how["data_format"] == "channels_first":
        return None
    key = (name, str(how), *map(id, weights))
    make = partial(_convolution, kinds[rank - 3], weights, how, has_bias)
    return lambda use, x: use.part(key, partial(make, x.shape), x, weights)


def _convolution(
    kind: type[keras.Layer],
    weights: Weights,
    how: dict[str, Any],
    has_bias: bool,
    shape: tuple[int | None, ...],
) -> keras.Layer:
    *size, inputs, outputs = weights[0].shape
    how = how | {"kernel_size": tuple(size), "use_bias": has_bias}
    name = kind.__name__
    if "Depthwise" in name:
        return kind(depth_multiplier=outputs, **how)
    if "Separable" in name:
        return kind(weights[1].shape[-1], depth_multiplier=outputs, **how)
    if "Transpose" in name:
        return kind(inputs, **how)
    channels = shape[1 if how["data_format"] == "channels_first" else -1]
    return kind(outputs, groups=channels // inputs, **how)
