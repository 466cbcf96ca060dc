"""Rules for attention: products and softmaxes, with masks that integers can have."""

import math
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_share.flat.written import LayerUse
from keras_share.quantize.rules import writes
from keras_share.quantize.written_rules import axes_of

# Below the smallest score by so much, a masked place gets no weight: exp(-10) is less
# than half a step of a softmax in 8 bits.
_MASKED = 10.0
_CAPPED = "its scores are capped"


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
    how="int8, in the range (0, 1); masked places are set to 10 below the "
    "smallest score",
)
def _softmax(use: LayerUse, inputs: Any, mask: Any = None) -> Any:
    rank = len(inputs.shape)
    axes = sorted(axis % rank for axis in axes_of(use.op))
    order = [*(axis for axis in range(rank) if axis not in axes), *axes]
    moves = order != sorted(order)
    given = [inputs] if mask is None else [inputs, mask]
    if moves and any(len(x.shape) < rank for x in given):
        use.refuse("its mask has fewer axes than its input")
    given = [ops.transpose(x, order) if moves else x for x in given]
    shape = tuple(-1 if size is None else size for size in given[0].shape)
    if len(axes) > 1:
        if shape.count(-1) > 1:
            use.refuse("it is over several axes, of sizes that are not known")
        if given[-1].shape != given[0].shape:
            use.refuse("it is over several axes, and its mask is not of its shape")
        flat = (*shape[: -len(axes)], math.prod(shape[-len(axes) :]))
        given = [ops.reshape(x, flat) for x in given]
    x = masked_softmax(*given)
    if mask is not None and _zeroes_masked() and not _sees_some(given[1]):
        x = ops.where(ops.cast(given[1], "bool"), x, 0.0)
    x = ops.reshape(x, shape) if len(axes) > 1 else x
    return ops.transpose(x, np.argsort(order).tolist()) if moves else x


@lru_cache
def _zeroes_masked() -> bool:
    """Whether the layer gives nothing where all is masked; older Keras gave means."""
    given = np.zeros((1, 2), "float32")
    found = layers.Softmax()(given, mask=given.astype("bool"))
    return not ops.convert_to_numpy(found).any()


def _sees_some(mask: Any) -> bool:
    """Whether a mask is known to leave something in each row, as a causal one does."""
    known = not isinstance(mask, keras.KerasTensor)
    return known and bool(ops.convert_to_numpy(ops.any(mask, axis=-1)).all())


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


@writes(
    layers.Attention,
    layers.AdditiveAttention,
    how="products or sums and tanh, softmax; masked places are set to 10 below the "
    "smallest score",
)
def _attention(
    use: LayerUse,
    inputs: Any,
    mask: Any = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
    **_: Any,
) -> Any:
    layer = use.op
    query, value, *keys = inputs
    key = keys[0] if keys else value
    of_queries, seen = list(mask)[:2] if mask else (None, None)
    if seen is not None:
        seen = ops.expand_dims(seen, -2)
    if use_causal_mask:
        seen = _causal(use, seen, query.shape[1], key.shape[1])
        seen = seen[0] if len(seen.shape) == 4 else seen
    weights = masked_softmax(_scores(use, query, key), seen)
    if layer.dropout:
        weights = layers.Dropout(layer.dropout, name="dropout")(weights)
    x = ops.matmul(weights, value)
    if of_queries is not None:
        x = ops.where(ops.expand_dims(of_queries, -1), x, 0.0)
    return (x, weights) if return_attention_scores else x


def _scores(use: LayerUse, query: Any, key: Any) -> Any:
    layer = use.op
    additive = isinstance(layer, layers.AdditiveAttention)
    scale = None if layer.scale is None else use.value(layer.scale, query)
    if not additive and layer.score_mode == "dot":
        scores = ops.matmul(query, ops.swapaxes(key, -2, -1))
        return scores if scale is None else scores * scale
    x = ops.expand_dims(query, -2) + ops.expand_dims(key, -3)
    if additive:
        x = ops.tanh(x)
        return ops.sum(x if scale is None else x * scale, axis=-1)
    x = ops.sum(ops.tanh(x if scale is None else x * scale), axis=-1)
    return x * use.value(layer.concat_score_weight, query)
