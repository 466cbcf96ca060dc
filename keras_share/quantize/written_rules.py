"""Rules for what TFLite has no integer operator for, written with what has one."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_share.flat.written import LayerUse
from keras_share.quantize.inverse_root import InverseRoot
from keras_share.quantize.rules import QuantizeRule, register_rule

# Below the smallest score by so much, a masked place gets no weight: exp(-10) is less
# than half a step of a softmax in 8 bits.
_MASKED = 10.0


def _layer_normalization(use: LayerUse, inputs: Any, **kwargs: Any) -> Any:
    layer = use.op
    axes = _axes(layer)
    # A subtraction, as the negation in Keras's own stays in floating point.
    x = inputs - ops.mean(inputs, axes, keepdims=True)
    return use.affine(_over_rms(x, axes, layer.epsilon), layer.gamma, layer.beta)


def _rms_normalization(use: LayerUse, inputs: Any) -> Any:
    layer = use.op
    return use.affine(_over_rms(inputs, _axes(layer), layer.epsilon), layer.scale)


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


def _axes(layer: keras.Layer) -> tuple[int, ...]:
    axis = layer.axis
    return tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)


def _unless_last(layer: keras.Layer) -> str | None:
    """A reason if the axes of a built layer aren't the last ones of its input."""
    axes, rank = _axes(layer), len(layer.get_build_config()["input_shape"])
    if tuple(axis % rank for axis in axes) == tuple(range(rank - len(axes), rank)):
        return None
    return "its axes are not the last ones"


def masked_softmax(scores: Any, mask: Any = None) -> Any:
    """Softmax over the last axis of where `mask` is not False.

    In floating point, masked scores are set to minus infinity or near it; in integers
    that would leave no steps for the others.
    """
    if mask is not None:
        lowest = ops.min(scores, keepdims=True) - _MASKED
        scores = ops.where(ops.cast(mask, "bool"), scores, lowest)
    return ops.softmax(scores)


def _softmax(use: LayerUse, inputs: Any, mask: Any = None) -> Any:
    [axis] = _axes(use.op)
    if axis in (-1, len(inputs.shape) - 1):
        return masked_softmax(inputs, mask)
    inputs = ops.swapaxes(inputs, axis, -1)
    mask = None if mask is None else ops.swapaxes(mask, axis, -1)
    return ops.swapaxes(masked_softmax(inputs, mask), axis, -1)


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
    if attn_logits_soft_cap:
        raise ValueError("its scores are capped")
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    # Arguments of the call or attributes, by the version of Keras.
    if is_causal or getattr(use.op, "is_causal", False):
        mask = _causal(mask, query.shape[1], key.shape[1])
    return _attend(query * scale, key, value, bias, mask)


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
    given = [name for name, value in others.items() if value not in (None, False)]
    if given:
        raise ValueError(f"it is called with {', '.join(given)}")
    mask = attention_mask
    if mask is not None and len(mask.shape) == 3:
        mask = ops.expand_dims(mask, 1)  # the same for all heads
    if use_causal_mask:
        mask = _causal(mask, query.shape[1], value.shape[1])
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


def _causal(mask: Any, queries: int, keys: int) -> Any:
    causal = np.tril(np.ones((queries, keys), "bool"))[None, None]
    return causal if mask is None else ops.logical_and(mask, causal)


def _attention_refuses(layer: layers.MultiHeadAttention) -> str | None:
    config = layer.get_config()
    if config.get("attention_axes") not in (None, [1], (1,), 1):
        return "it attends over other axes than the second"
    if config.get("sliding_window") is not None:
        return "its window slides"
    if config.get("use_gate"):
        return "it has a gate"
    return None


def _no_plain_attention(op: Any) -> str | None:
    if getattr(op, "attn_logits_soft_cap", None):
        return "its scores are capped"
    return None


def _softmax_refuses(layer: layers.Softmax) -> str | None:
    return None if len(_axes(layer)) == 1 else "it is over several axes"


def _power(use: LayerUse, x: Any, exponent: Any) -> Any:
    if isinstance(exponent, keras.KerasTensor) or exponent != 2:
        raise ValueError("TFLite has no integer operator for powers other than 2")
    return x * x


def _flip(use: LayerUse, x: Any) -> Any:
    axis = use.op.axis
    [axis] = axis if isinstance(axis, (list, tuple)) else (axis,)
    return ops.take(x, list(range(x.shape[axis]))[::-1], axis=axis)


def _divide(use: LayerUse, x1: Any, x2: Any) -> Any:
    if isinstance(x2, keras.KerasTensor):
        raise ValueError("TFLite divides integers only by what is never zero")
    return x1 * (1 / x2)


def _relu(use: LayerUse, x: Any) -> Any:
    op = use.op
    if not op.negative_slope and not op.threshold and op.max_value in (None, 6):
        return ops.relu(x) if op.max_value is None else ops.relu6(x)
    if not op.threshold and op.max_value is None:
        return ops.leaky_relu(x, op.negative_slope)
    x = ops.minimum(x, op.max_value)
    return ops.leaky_relu(x, op.negative_slope) if op.negative_slope else ops.relu(x)


register_rule(InverseRoot, QuantizeRule(how="int8"))
register_rule(
    layers.LayerNormalization,
    QuantizeRule(
        write=_layer_normalization,
        refuse=_unless_last,
        how="mean, difference, product, mean, sum, inverse root, product; scale and "
        "offset as a depthwise convolution of size 1",
    ),
)
register_rule(
    layers.RMSNormalization,
    QuantizeRule(
        write=_rms_normalization,
        refuse=_unless_last,
        how="product, mean, sum, inverse root, product; scale as a depthwise "
        "convolution of size 1",
    ),
)
register_rule(
    layers.GroupNormalization,
    QuantizeRule(
        write=_group_normalization,
        refuse=_unless_last,
        how="as LayerNormalization, of each group",
    ),
)
register_rule(
    layers.Softmax,
    QuantizeRule(
        write=_softmax,
        refuse=_softmax_refuses,
        how="int8, in the range (0, 1); masked places are set to 10 below the "
        "smallest score",
    ),
)
register_rule(
    layers.MultiHeadAttention,
    QuantizeRule(
        write=_multi_head_attention,
        refuse=_attention_refuses,
        how="EinsumDense for queries, keys, values and outputs; products, softmax",
    ),
)
register_rule(
    "dot_product_attention",
    QuantizeRule(
        write=_dot_product_attention,
        refuse=_no_plain_attention,
        how="products, softmax; masked places are set to 10 below the smallest score",
    ),
)
register_rule(
    "re_lu",  # what `keras.activations.relu` records
    QuantizeRule(
        write=_relu,
        refuse=lambda op: "it has a threshold" if op.threshold else None,
        how="int8, as part of the operator before it where that has one",
    ),
)
register_rule(
    "square", QuantizeRule(write=lambda use, x: x * x, how="int8, as a product")
)
register_rule(
    "negative", QuantizeRule(write=lambda use, x: 0.0 - x, how="int8, as a difference")
)
register_rule(
    "hard_sigmoid",
    QuantizeRule(
        write=lambda use, x: ops.relu6(x + 3.0) * (1 / 6),
        how="int8, as a sum, ReLU6 and a product",
    ),
)
register_rule(
    "power", QuantizeRule(write=_power, how="int8, as a product; of exponent 2 only")
)
register_rule(
    "flip", QuantizeRule(write=_flip, how="int8, as a look-up along one axis")
)
for _name in ("divide", "true_divide"):
    register_rule(
        _name, QuantizeRule(write=_divide, how="int8, as a product; by constants only")
    )
