"""Rules for what TFLite has no integer operator for, written with what has one."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_share.flat.written import LayerUse
from keras_share.quantize.inverse_root import InverseRoot
from keras_share.quantize.rules import QuantizeRule, register_rule, writes

# Below the smallest score by so much, a masked place gets no weight: exp(-10) is less
# than half a step of a softmax in 8 bits.
_MASKED = 10.0
_CAPPED = "its scores are capped"


def _axes(layer: keras.Layer) -> tuple[int, ...]:
    axis = layer.axis
    return tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)


def _unless_last(layer: keras.Layer) -> str | None:
    """A reason if the axes of a built layer aren't the last ones of its input."""
    axes, rank = _axes(layer), len(layer.get_build_config()["input_shape"])
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
    axes = _axes(layer)
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
    return use.affine(_over_rms(inputs, _axes(layer), layer.epsilon), layer.scale)


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


def masked_softmax(scores: Any, mask: Any = None) -> Any:
    """Softmax over the last axis of where `mask` is not False.

    In floating point, masked scores are set to minus infinity or near it; in integers
    that would leave no steps for the others.
    """
    if mask is not None:
        lowest = ops.min(scores, keepdims=True) - _MASKED
        scores = ops.where(ops.cast(mask, "bool"), scores, lowest)
    return ops.softmax(scores)


@writes(
    layers.Softmax,
    refuse=lambda layer: "it is over several axes" if len(_axes(layer)) > 1 else None,
    how="int8, in the range (0, 1); masked places are set to 10 below the "
    "smallest score",
)
def _softmax(use: LayerUse, inputs: Any, mask: Any = None) -> Any:
    [axis] = _axes(use.op)
    if axis in (-1, len(inputs.shape) - 1):
        return masked_softmax(inputs, mask)
    inputs = ops.swapaxes(inputs, axis, -1)
    mask = None if mask is None else ops.swapaxes(mask, axis, -1)
    return ops.swapaxes(masked_softmax(inputs, mask), axis, -1)


@writes(
    "dot_product_attention",
    refuse=lambda op: _CAPPED if getattr(op, "attn_logits_soft_cap", None) else None,
    how="products, softmax; masked places are set to 10 below the smallest score",
)
def _dot_product_attention(
    use: LayerUse,
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Any:
    # Arguments of the call or attributes, by the version of Keras.
    if attn_logits_soft_cap:
        use.refuse(_CAPPED)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    if is_causal or getattr(use.op, "is_causal", False):
        mask = _causal(use, mask, query.shape[1], key.shape[1])
    return _attend(query * scale, key, value, bias, mask)


def _attention_refuses(layer: layers.MultiHeadAttention) -> str | None:
    config = layer.get_config()
    if config.get("attention_axes") not in (None, [1], (1,), 1):
        return "it attends over other axes than the second"
    if config.get("sliding_window") is not None:
        return "its window slides"
    if config.get("use_gate"):
        return "it has a gate"
    return None


@writes(
    layers.MultiHeadAttention,
    refuse=_attention_refuses,
    how="EinsumDense for queries, keys, values and outputs; products, softmax",
)
def _multi_head_attention(
    use: LayerUse,
    query: Any,
    value: Any,
    key: Any = None,
    attention_mask: Any = None,
    use_causal_mask: bool = False,
    training: bool | None = None,
    **others: Any,
) -> Any:
    layer = use.op
    if len(query.shape) != 3:
        use.refuse("it attends over several axes")
    given = [name for name, value in others.items() if value not in (None, False)]
    if given:
        use.refuse(f"it is called with {', '.join(given)}")
    mask = attention_mask
    if mask is not None and len(mask.shape) == 3:
        mask = ops.expand_dims(mask, 1)  # the same for all heads
    if use_causal_mask:
        mask = _causal(use, mask, query.shape[1], value.shape[1])
    heads = layer.query_dense(query) * layer.key_dim**-0.5
    keys = layer.key_dense(value if key is None else key)
    x = _attend(heads, keys, layer.value_dense(value), mask=mask, dropout=layer.dropout)
    return layer.output_dense(x)


def _attend(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    dropout: float = 0.0,
) -> Any:
    """Attention of scaled queries, all of shape `(batch, length, heads, width)`."""
    query = ops.transpose(query, (0, 2, 1, 3))
    scores = ops.matmul(query, ops.transpose(key, (0, 2, 3, 1)))
    if bias is not None:
        scores = scores + bias
    weights = masked_softmax(scores, mask)
    if dropout:
        weights = layers.Dropout(dropout, name="dropout")(weights)
    x = ops.matmul(weights, ops.transpose(value, (0, 2, 1, 3)))
    return ops.transpose(x, (0, 2, 1, 3))


def _causal(use: LayerUse, mask: Any, queries: int | None, keys: int | None) -> Any:
    if queries is None or keys is None:
        use.refuse("its mask is causal, and the lengths of its inputs are not known")
    causal = np.tril(np.ones((queries, keys), "bool"))[None, None]
    return causal if mask is None else ops.logical_and(mask, causal)


@writes("power", how="int8, as a product; of exponent 2 only")
def _power(use: LayerUse, x: Any, exponent: Any) -> Any:
    if isinstance(exponent, keras.KerasTensor) or np.any(np.not_equal(exponent, 2)):
        use.refuse("TFLite has no integer operator for powers other than 2")
    return x * x


@writes("flip", how="int8, as a look-up along one axis")
def _flip(use: LayerUse, x: Any) -> Any:
    axes = _axes(use.op)
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
    refuse=lambda op: "it has a threshold" if op.threshold else None,
    how="int8, as part of the operator before it where that has one",
)
def _relu(use: LayerUse, x: Any) -> Any:
    op = use.op
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


@writes("silu", how="int8, as a sigmoid and a product")
def _silu(use: LayerUse, x: Any) -> Any:
    return x * ops.sigmoid(x)


@writes("negative", how="int8, as a difference")
def _negative(use: LayerUse, x: Any) -> Any:
    return 0.0 - x


@writes("hard_sigmoid", how="int8, as a sum, ReLU6 and a product")
def _hard_sigmoid(use: LayerUse, x: Any) -> Any:
    return ops.relu6(x + 3.0) * (1 / 6)


register_rule(InverseRoot, QuantizeRule(how="int8"))
