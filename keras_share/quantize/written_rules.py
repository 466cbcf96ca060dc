"""Rules for what TFLite has no integer operator for, written with what has one."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_share.flat.written import LayerUse
from keras_share.quantize.inverse_root import InverseRoot
from keras_share.quantize.rules import (
    QuantizeRule,
    register_rule,
    register_rules,
    writes,
)


def axes_of(layer: keras.Operation) -> tuple[int, ...]:
    """The axes that a layer or operation works along."""
    axis = layer.axis
    return tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)


def _unless_last(layer: keras.Layer) -> str | None:
    """A reason if the axes of a built layer aren't the last ones of its input."""
    axes, rank = axes_of(layer), len(layer.get_build_config()["input_shape"])
    if tuple(axis % rank for axis in axes) == tuple(range(rank - len(axes), rank)):
        return None
    return "its axes are not the last ones"


@writes(
    layers.LayerNormalization,
    refuse=_unless_last,
    how="mean, difference, product, mean, sum, inverse root, product; scale and "
    "offset as a depthwise convolution of size 1",
)
def _layer_normalization(use: LayerUse, inputs: Any, **kwargs: Any) -> Any:
    layer = use.op
    axes = axes_of(layer)
    # A subtraction, as the negation in Keras's own stays in floating point.
    x = inputs - ops.mean(inputs, axes, keepdims=True)
    return use.affine(_over_rms(x, axes, layer.epsilon), layer.gamma, layer.beta)


@writes(
    layers.RMSNormalization,
    refuse=_unless_last,
    how="product, mean, sum, inverse root, product; scale as a depthwise "
    "convolution of size 1",
)
def _rms_normalization(use: LayerUse, inputs: Any) -> Any:
    layer = use.op
    return use.affine(_over_rms(inputs, axes_of(layer), layer.epsilon), layer.scale)


@writes(
    layers.GroupNormalization,
    refuse=_unless_last,
    how="as LayerNormalization, of each group",
)
def _group_normalization(use: LayerUse, inputs: Any) -> Any:
    layer = use.op
    shape = tuple(-1 if size is None else size for size in inputs.shape)
    groups = layer.groups
    x = ops.reshape(inputs, (*shape[:-1], groups, shape[-1] // groups))
    axes = (*range(1, len(shape) - 1), len(shape))
    x = x - ops.mean(x, axes, keepdims=True)
    x = ops.reshape(_over_rms(x, axes, layer.epsilon), shape)
    return use.affine(x, layer.gamma, layer.beta)


def _over_rms(x: Any, axes: tuple[int, ...], epsilon: float) -> Any:
    square = ops.mean(x * x, axes, keepdims=True) + epsilon
    return x * InverseRoot(epsilon, name="inverse_root")(square)


@writes("power", how="int8, as a product; of exponent 2 only")
def _power(use: LayerUse, x: Any, exponent: Any) -> Any:
    if isinstance(exponent, keras.KerasTensor) or np.any(np.not_equal(exponent, 2)):
        use.refuse("TFLite has no integer operator for powers other than 2")
    return x * x


def products_of_two(use: LayerUse, x: Any, *others: Any) -> Any:
    """An `einsum` of several tensors, of which the converter rounds no product."""
    named, _, result = use.op.subscripts.partition("->")
    letters, *terms = named.split(",")
    if "->" not in use.op.subscripts or "." in named:
        use.refuse("its axes are not all named")
    for i, (other, term) in enumerate(zip(others, terms, strict=True), start=1):
        left = {*result}.union(*terms[i:])
        kept = "".join(x for x in dict.fromkeys(letters + term) if x in left)
        kept = kept if terms[i:] else result
        x = ops.einsum(f"{letters},{term}->{kept}", x, other)
        letters = kept
    return x


@writes("unstack", how="int8, as slices")
def _unstack(use: LayerUse, x: Any) -> Any:
    axis, number = use.op.axis, use.op.num
    number = x.shape[axis] if number is None else number
    if number is None:
        use.refuse("the size of its input is not known")
    before = (slice(None),) * (axis % len(x.shape))
    places = [(*before, i) for i in range(number)]
    return tuple(x[place] for place in places)


@writes("flip", how="int8, as a look-up along one axis")
def _flip(use: LayerUse, x: Any) -> Any:
    axes = axes_of(use.op)
    if len(axes) > 1 or axes[0] is None or x.shape[axes[0]] is None:
        use.refuse("it is not along one axis of a known size")
    return ops.take(x, list(range(x.shape[axes[0]]))[::-1], axis=axes[0])


@writes("divide", "true_divide", how="int8, as a product; by constants only")
def _divide(use: LayerUse, x1: Any, x2: Any) -> Any:
    if isinstance(x2, keras.KerasTensor):
        use.refuse("TFLite divides integers only by what is never zero")
    return x1 * (1 / x2)


@writes(
    "re_lu",  # what `keras.activations.relu` records
    how="int8, as part of the operator before it where that has one",
)
def _relu(use: LayerUse, x: Any) -> Any:
    op = use.op
    if op.threshold:
        use.refuse("it has a threshold")
    if op.max_value is None:
        slope = op.negative_slope
        return ops.leaky_relu(x, slope) if slope else ops.relu(x)
    if not op.negative_slope and op.max_value == 6:
        return ops.relu6(x)
    x = ops.minimum(x, op.max_value)
    return ops.leaky_relu(x, op.negative_slope) if op.negative_slope else ops.relu(x)


@writes("square", how="int8, as a product")
def _square(use: LayerUse, x: Any) -> Any:
    return x * x


@writes("one_hot", how="int8, as a selection; of classes along the last axis")
def _one_hot(use: LayerUse, x: Any) -> Any:
    op = use.op
    if op.axis not in (-1, len(x.shape)) or op.sparse:
        use.refuse("its classes are not along the last axis")
    classes = np.arange(op.num_classes, dtype="int32")
    same = ops.equal(ops.expand_dims(ops.cast(x, "int32"), -1), classes)
    return ops.where(same, 1.0, 0.0)


@writes("extract_patches", how="int8, as slices in a row; of images of a known size")
def _extract_patches(use: LayerUse, x: Any) -> Any:
    op = use.op
    if op.data_format != "channels_last" or len(x.shape) != 4 or None in x.shape[1:3]:
        use.refuse("the size of its images is not known, or their channels come first")
    size, steps, rates = (
        (n, n) if isinstance(n, int) else tuple(n)
        for n in (op.size, op.strides or op.size, op.dilation_rate)
    )
    reach = [(n - 1) * rate + 1 for n, rate in zip(size, rates, strict=True)]
    if op.padding == "same":
        lacks = [
            max(0, (-(-length // step) - 1) * step + r - length)
            for length, step, r in zip(x.shape[1:3], steps, reach, strict=True)
        ]
        x = ops.pad(x, [[0, 0], *([n // 2, n - n // 2] for n in lacks), [0, 0]])
    last = [length - r + 1 for length, r in zip(x.shape[1:3], reach, strict=True)]
    rows, columns = (
        [slice(i * rate, i * rate + end, step) for i in range(n)]
        for n, rate, end, step in zip(size, rates, last, steps, strict=True)
    )
    return ops.concatenate([x[:, i, j] for i in rows for j in columns], axis=-1)


@writes("var", how="mean, difference, product, mean")
def _var(use: LayerUse, x: Any) -> Any:
    x = x - ops.mean(x, use.op.axis, keepdims=True)
    return ops.mean(x * x, use.op.axis, keepdims=use.op.keepdims)


@writes("moments", how="mean, difference, product, mean")
def _moments(use: LayerUse, x: Any) -> Any:
    axes, keepdims = use.op.axes, use.op.keepdims
    return ops.mean(x, axes, keepdims=keepdims), ops.var(x, axes, keepdims=keepdims)


@writes("norm", how="product, sum and root, by which can be divided; of order 2 only")
def _norm(use: LayerUse, x: Any) -> Any:
    op = use.op
    if op.ord not in (None, 2) or op.axis is None or len(op.axis) > 1:
        use.refuse("it is not that of squares along an axis")
    return ops.sqrt(ops.sum(x * x, op.axis, keepdims=op.keepdims))


@writes("silu", how="int8, as a sigmoid and a product")
def _silu(use: LayerUse, x: Any) -> Any:
    return x * ops.sigmoid(x)


@writes("negative", how="int8, as a difference")
def _negative(use: LayerUse, x: Any) -> Any:
    return 0.0 - x


@writes("hard_sigmoid", how="int8, as a sum, ReLU6 and a product")
def _hard_sigmoid(use: LayerUse, x: Any) -> Any:
    return ops.relu6(x + 3.0) * (1 / 6)


@writes("normalize", how="as RMSNormalization, with a sum; of order 2 only")
def _normalize(use: LayerUse, x: Any) -> Any:
    op = use.op
    if op.order != 2 or op.axis is None:
        use.refuse("its norm is not that of squares along axes")
    least = (keras.backend.epsilon() if op.epsilon is None else op.epsilon) ** 2
    square = ops.sum(x * x, op.axis, keepdims=True)
    return x * InverseRoot(least, name="inverse_root")(ops.maximum(square, least))


@writes("glu", how="int8, as a sigmoid and a product")
def _glu(use: LayerUse, x: Any) -> Any:
    x, gate = ops.split(x, 2, axis=use.op.axis)
    return x * ops.sigmoid(gate)


@writes(layers.Normalization, how="int8, as a difference and a product")
def _normalization(use: LayerUse, x: Any) -> Any:
    layer = use.op
    mean, variance = map(ops.convert_to_numpy, (layer.mean, layer.variance))
    deviation = np.maximum(np.sqrt(variance), keras.backend.epsilon())
    return x * deviation + mean if layer.invert else (x - mean) * (1 / deviation)


@writes(layers.CenterCrop, how="int8, as a slice; of larger images only")
def _center_crop(use: LayerUse, x: Any, **_: Any) -> Any:
    layer = use.op
    rows, columns = x.shape[-3:-1]
    if layer.data_format != "channels_last" or None in (rows, columns):
        use.refuse("the sizes of its input are not known, or its channels come first")
    top, left = rows - layer.height, columns - layer.width
    if top < 0 or left < 0:
        use.refuse("its input is smaller than its output, and resized")
    return x[
        ..., top // 2 : top // 2 + layer.height, left // 2 : left // 2 + layer.width, :
    ]


@writes(layers.TimeDistributed, how="its layer, with the steps as a batch")
def _time_distributed(use: LayerUse, x: Any, mask: Any = None, **_: Any) -> Any:
    if mask is not None or None in x.shape[1:]:
        use.refuse("it has a mask, or the sizes of its input are not known")
    y = use.op.layer(ops.reshape(x, (-1, *x.shape[2:])))
    return ops.reshape(y, (-1, x.shape[1], *y.shape[1:]))


@writes(
    layers.SpectralNormalization,
    how="its layer, whose kernel is normalized in training without quantization only",
)
def _spectral_normalization(use: LayerUse, x: Any, **_: Any) -> Any:
    return use.op.layer(x)


register_rules(
    (layers.Conv3D, layers.Conv3DTranspose, layers.ConvLSTM3D),
    QuantizeRule(
        refuse=lambda layer: "TFLite has no integer operator for 3-D convolutions",
        how="float: TFLite has no integer operator for 3-D convolutions",
    ),
)
register_rules(
    (layers.MelSpectrogram, layers.STFTSpectrogram),
    QuantizeRule(
        refuse=lambda layer: "integers are too coarse for its logarithms",
        how="float: integers are too coarse for its logarithms",
    ),
)
register_rule(
    "cast",
    QuantizeRule(
        refuse=lambda op: "it makes numbers of integers, which are rounded behind it",
        how="float, of integers; a selection of truths",
    ),
)
register_rule(InverseRoot, QuantizeRule(how="int8"))
