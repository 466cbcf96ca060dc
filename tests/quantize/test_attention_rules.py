"""Attention among integers: what is written, and what masks hide."""

import inspect
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops
from older_keras import newer_only
from random_data import randomize, values
from unrounded import agrees, outputs, unrounded

from keras_share import export_tflite, quantize_model
from keras_share.quantize import quantization_report

SEQUENCE = (6, 8)


def random_mask(*shape):
    """A mask that hides about half and in no row or column everything."""
    mask = np.random.default_rng(0).random(shape) > 0.5
    size = min(shape[-2:])
    mask[..., range(size), range(size)] = True
    return mask


def hidden(weights, mask):
    """The largest sum of weights that masked places get in one row."""
    return np.where(np.broadcast_to(mask, weights.shape), 0, weights).sum(-1).max()


# What a place may get that is 10 below the smallest score, beside one that is not.
UNSEEN = np.exp(-10)


@pytest.mark.parametrize("axis", [-1, 1])
def test_masked_softmax(axis):
    x, mask = keras.Input((6, 6)), keras.Input((6, 6), dtype="bool")
    model = keras.Model([x, mask], layers.Softmax(axis=axis)(x, mask=mask))
    data = [values(4, 6, 6), random_mask(4, 6, 6)]
    agrees(model, data, tolerance=5 * UNSEEN)
    [weights] = outputs(unrounded(model)[0], data)
    weights, mask = (np.moveaxis(a, axis, -1) for a in (weights, data[1]))
    assert hidden(weights, mask) < 5 * UNSEEN


@pytest.mark.parametrize("axis", [(1, 2), (-1, -2), (1, 3), (2,)])
@pytest.mark.parametrize("masked", [False, True])
def test_softmax_over_other_axes(axis, masked):
    shape = (3, 4, 2)
    x, mask = keras.Input(shape), keras.Input(shape, dtype="bool")
    y = layers.Softmax(axis=axis)(x, mask=mask if masked else None)
    model = keras.Model([x, mask] if masked else x, y)
    data = [values(4, *shape), random_mask(4, *shape)][: 1 + masked]
    agrees(model, data, tolerance=24 * UNSEEN)


def multi_head(**kwargs):
    return layers.MultiHeadAttention(2, 4, **kwargs)


def grouped(**kwargs):
    return layers.GroupQueryAttention(4, 4, 2, **kwargs)


# Attention layer, its arguments of a call, and the shapes of query, value and key.
ATTENTIONS = {
    "self": (multi_head, {}, {}, 1),
    "cross": (multi_head, {"value_dim": 3, "output_shape": 7}, {}, 2),
    "keys": (multi_head, {}, {}, 3),
    "no bias": (multi_head, {"use_bias": False}, {}, 1),
    "dropout": (multi_head, {"dropout": 0.5}, {}, 1),
    "grouped": (grouped, {}, {}, 1),
    "grouped cross": (grouped, {}, {}, 2),
    "grouped dropout": (grouped, {"dropout": 0.5}, {}, 1),
}
if "use_gate" in inspect.signature(layers.MultiHeadAttention).parameters:
    ATTENTIONS["gate"] = (multi_head, {"use_gate": True}, {}, 1)
    ATTENTIONS["grouped gate"] = (grouped, {"use_gate": True}, {}, 1)


def attention_model(make, arguments, call, num_inputs):
    inputs = [keras.Input(shape) for shape in ((6, 8), (5, 8), (5, 8))[:num_inputs]]
    query = inputs[0]
    rest = inputs[1:] or [query]
    return keras.Model(inputs, make(**arguments)(query, *rest, **call))


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention(name):
    model = attention_model(*ATTENTIONS[name])
    x = [values(4, *i.shape[1:], seed=n) for n, i in enumerate(model.inputs)]
    steps = agrees(model, x)
    assert steps.count("Softmax") == 1
    assert not any("Attention" in step for step in steps)
    left = quantization_report(model).float_layers
    assert not left


MASKS = {
    "boolean": ((6, 6), "bool", {}),
    "integers": ((6, 6), "int32", {}),
    "the same for all queries": ((1, 6), "bool", {}),
    "of each head": ((4, 6, 6), "bool", {}),
    "and causal": ((6, 6), "bool", {"use_causal_mask": True}),
}


@pytest.mark.parametrize("make", [multi_head, grouped], ids=["multi-head", "grouped"])
@pytest.mark.parametrize("name", MASKS)
def test_masked_attention(name, make):
    shape, dtype, call = MASKS[name]
    layer = make()
    if len(shape) == 3:
        shape = (2 if make is multi_head else 4, *shape[1:])
    x, mask = keras.Input((6, 8)), keras.Input(shape, dtype=dtype)
    model = keras.Model([x, mask], layer(x, x, attention_mask=mask, **call))
    data = [values(4, 6, 8), random_mask(4, *shape).astype(dtype)]
    steps = agrees(model, data, tolerance=5 * UNSEEN)
    assert "Where" in steps and not any("Attention" in step for step in steps)


@pytest.mark.parametrize("make", [multi_head, grouped], ids=["multi-head", "grouped"])
def test_causal_attention_does_not_look_ahead(make):
    x = keras.Input((6, 8))
    model = keras.Model(x, make()(x, x, use_causal_mask=True))
    data = values(4, 6, 8)
    steps = agrees(model, data, tolerance=5 * UNSEEN)
    assert not any("Attention" in step for step in steps)
    later = data.copy()
    later[:, 4:] = values(4, 2, 8, seed=1)
    opened = unrounded(model)[0]
    [first], [second] = outputs(opened, data), outputs(opened, later)
    largest = np.abs(first).max()
    assert np.abs(first - second)[:, :4].max() < 5 * UNSEEN * largest
    assert np.abs(first - second)[:, 4:].max() > 0.05 * largest


@pytest.mark.parametrize("argument", ["query_mask", "value_mask", "key_mask"])
def test_attention_with_masks_of_its_inputs(argument):
    x, mask = keras.Input((6, 8)), keras.Input((6,), dtype="bool")
    model = keras.Model([x, mask], multi_head()(x, x, **{argument: mask}))
    seen = np.arange(6) < np.array([6, 4, 2, 5])[:, None]
    steps = agrees(model, [values(4, 6, 8), seen], tolerance=5 * UNSEEN)
    assert not any("Attention" in step for step in steps)


def test_attention_that_returns_its_scores():
    x = keras.Input((6, 8))
    model = keras.Model(x, multi_head()(x, x, return_attention_scores=True))
    steps = agrees(model, values(4, 6, 8))
    assert not any("Attention" in step for step in steps)


DOT_PRODUCTS = {
    "plain": {},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.3},
    "mask": {"mask": "mask"},
    "bias": {"bias": "bias"},
}


@pytest.mark.parametrize("name", DOT_PRODUCTS)
def test_dot_product_attention(name):
    shapes = {"query": (6, 2, 4), "key": (6, 2, 4), "value": (6, 2, 3)}
    data = {k: values(4, *s, seed=n) for n, (k, s) in enumerate(shapes.items())}
    arguments = dict(DOT_PRODUCTS[name])
    if "mask" in arguments:
        data["mask"] = random_mask(4, 1, 6, 6)
    if "bias" in arguments:
        data["bias"] = values(4, 2, 6, 6, seed=5)
    inputs = {
        k: keras.Input(v.shape[1:], dtype=str(v.dtype), name=k) for k, v in data.items()
    }
    outputs = ops.dot_product_attention(**{**arguments, **inputs})
    steps = agrees(keras.Model(inputs, outputs), data, tolerance=5 * UNSEEN)
    assert "DotProductAttention" not in steps and "Softmax" in steps


def test_quantized_attention_gives_masked_places_no_weight():
    scores, mask = keras.Input((6, 6)), keras.Input((6, 6), dtype="bool")
    model = keras.Model([scores, mask], layers.Softmax()(scores, mask=mask))
    data = [values(16, 6, 6) * 3, random_mask(16, 6, 6)]
    quantized = quantize_model(model, representative_dataset=tuple(data))
    [weights] = outputs(quantized, data)
    assert hidden(weights, data[1]) == 0
    [expected] = outputs(model, data)
    assert np.abs(weights - expected).max() < 0.05


def test_dropout_of_attention_is_active_in_training_only():
    x = keras.Input((6, 8))
    model = randomize(keras.Model(x, multi_head(dropout=0.5)(x, x)))
    opened, data = unrounded(model)[0], values(4, 6, 8)
    still = [ops.convert_to_numpy(opened(data, training=False)) for _ in range(2)]
    np.testing.assert_array_equal(*still)
    moving = [ops.convert_to_numpy(opened(data, training=True)) for _ in range(2)]
    assert np.abs(moving[0] - moving[1]).max() > 1e-2


ATTENTION = {
    "dot": layers.Attention,
    "scaled": lambda: layers.Attention(use_scale=True, dropout=0.5),
    "concat": lambda: layers.Attention(score_mode="concat", use_scale=True),
    "additive": layers.AdditiveAttention,
    "additive without scale": lambda: layers.AdditiveAttention(use_scale=False),
}


@newer_only
@pytest.mark.parametrize("name", ATTENTION)
def test_attention_layers(name):
    query, value = keras.Input(SEQUENCE), keras.Input((4, 8))
    attend = ATTENTION[name]()
    y, scores = attend([query, value], return_attention_scores=True)
    model = keras.Model([query, value], [y, scores])
    agrees(model, [values(4, *SEQUENCE), values(4, 4, 8)])
    assert not quantization_report(model).float_layers


def test_attention_that_is_causal_and_masked():
    query, mask = keras.Input(SEQUENCE), keras.Input((6,), dtype="bool")
    masks, attend = [mask, mask], layers.Attention()
    y = attend([query, query], mask=masks, use_causal_mask=True)
    model = keras.Model([query, mask], y)
    seen = np.arange(6) < np.array([[6], [4], [3], [1]])
    agrees(model, [values(4, *SEQUENCE), seen], tolerance=1e-3)
    assert not quantization_report(model).float_layers


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(
    "mixed", [layers.GroupQueryAttention, layers.MultiHeadAttention]
)
def test_padded_tokens(mixed, dropout, tmp_path):
    # Of these, all that a padded token could see is masked, as well.
    ids = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 8, mask_zero=True)(ids)
    arguments = (2, 4) if mixed is layers.MultiHeadAttention else (4, 2, 2)
    x = layers.LayerNormalization()(x + mixed(*arguments, dropout=dropout)(x, x))
    model = randomize(keras.Model(ids, layers.Dense(3)(x)))
    data = np.random.default_rng(0).integers(1, 9, (32, 6)).astype("int32")
    data[:16, 4:] = 0
    assert not quantization_report(model).float_layers
    agrees(model, data, tolerance=40 * UNSEEN)
    quantized, [expected] = quantize_model(model, data), outputs(model, data)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".* mask attached to it")  # is used, not lost
        [actual] = outputs(quantized, data)
    for rows in (data == 0, data != 0):
        error = actual[rows] - expected[rows]
        assert np.square(expected[rows]).mean() > 500 * np.square(error).mean()
    report = export_tflite(
        quantized, tmp_path / "m.tflite", representative_dataset=data
    )
    assert not report.float_operators and report.agreement[0].ratio > 30


def test_a_causal_mask_needs_no_zeros_behind():
    x = keras.Input(SEQUENCE)
    y = layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x, use_causal_mask=True)
    assert agrees(keras.Model(x, y), values(3, *SEQUENCE)).count("Where") == 1
