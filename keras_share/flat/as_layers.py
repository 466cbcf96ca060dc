"""Operations on weights of an open layer, as what layers of Keras do with their own."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import keras
from keras import layers

from keras_share.flat.records import Call
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
    found = _weights_last(use.op, use.args, lambda x: isinstance(x, WeightOf))
    if not found or not all(weight.of_one_layer for weight in found[1:]):
        return None
    x, *weights = found
    function = _function(use.op, x, [weight.variable for weight in weights])
    if function is None:
        return None
    return replace(use, op=weights[0].owner, args=(x,), kwargs={}), function


def with_biases(
    calls: list[Call], inputs: list[keras.KerasTensor], weights: Weights, outputs: Any
) -> tuple[list[Call], set[int]]:
    """What a layer runs, with a kernel's bias among the arguments beside the kernel.

    Args:
        calls: What is run, in order.
        inputs: What stands for weights in it.
        weights: These weights.
        outputs: What it is run for.

    Returns:
        The calls, and the ids of those inputs of which all readers do what one layer
        does that has such weights. Another weight would be that of several layers,
        and come apart in training.
    """
    variables = {id(x): v for x, v in zip(inputs, weights, strict=True)}
    readers: dict[int, list[Call | None]] = defaultdict(list)
    for call in calls:
        for x in tensors((call.args, call.kwargs)):
            readers[id(x)].append(call)
    for x in tensors(outputs):
        readers[id(x)].append(None)
    forms = {id(call): _form(call, variables) for call in calls}
    of_one_layer = set()
    for key in variables:
        found = {call and forms[id(call)] for call in readers[key]}
        if len(found) == 1 and None not in found:
            of_one_layer.add(key)
    products: dict[tuple, list[Call]] = defaultdict(list)
    for call in calls:
        form = forms[id(call)]
        if form and not of_one_layer.issuperset(form[2:]):
            of_one_layer.difference_update(form[2:])
        elif form and form[0] not in _AFFINE:
            products[form].append(call)
    merged: dict[int, Call | None] = {}
    for same in products.values():
        behind = [readers[id(call.outputs)] for call in same]
        sums = [x for [x] in (found for found in behind if len(found) == 1) if x]
        names = {type(call.op).__name__ for call in sums}
        biases = {x for call in sums for x in call.args if id(x) in of_one_layer}
        if len(sums) != len(same) or names != {"Add"} or len(biases) != 1:
            continue
        [bias] = biases
        read = [id(call) for call in readers[id(bias)]]
        beside = [variables[id(x)] for x in (*same[0].args[1:], bias)]
        fits = tuple(beside[-1].shape) == same[0].outputs.shape[-1:]
        if (
            fits
            and read == [id(x) for x in sums]
            and _function(same[0].op, same[0].args[0], beside) is not None
        ):
            for call, then in zip(same, sums, strict=True):
                args = (*call.args, bias)
                merged[id(then)] = Call(call.op, args, {}, then.outputs)
                merged[id(call)] = None
    arranged = [merged.get(id(call), call) for call in calls]
    return [call for call in arranged if call is not None], of_one_layer


def _weights_last(
    op: keras.Operation, args: tuple, is_weight: Callable[[Any], bool]
) -> tuple:
    """The input of an operation and the weights that it computes with; else nothing."""
    if isinstance(op, keras.Layer) or len(args) < 2:
        return ()
    x, *weights = args
    if is_weight(x) and type(op).__name__ in _AFFINE:
        x, weights = weights[0], [x]
    if not isinstance(x, keras.KerasTensor) or is_weight(x):
        return ()
    return (x, *weights) if all(map(is_weight, weights)) else ()


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
    how = _settings(op)
    if has_bias and how["data_format"] == "channels_first":
        return None
    key = (name, str(how), *map(id, weights))
    make = partial(_convolution, kinds[rank - 3], weights, how, has_bias)
    return lambda use, x: use.part(key, partial(make, x.shape), x, weights)


def _settings(op: keras.Operation) -> dict[str, Any]:
    """How an operation that may be a convolution is done."""
    keys = ("strides", "padding", "output_padding", "data_format", "dilation_rate")
    return {key: getattr(op, key) for key in keys if hasattr(op, key)}


def _form(call: Call, variables: dict[int, keras.Variable]) -> tuple | None:
    """What tells the calls apart that are not those of one layer, then its weights."""
    found = _weights_last(call.op, call.args, lambda x: id(x) in variables)
    if not found:
        return None
    x, *weights = found
    if _function(call.op, x, [variables[id(weight)] for weight in weights]) is None:
        return None
    how = str(_settings(call.op))
    return (type(call.op).__name__, how, *map(id, weights))


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
