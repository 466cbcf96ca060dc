"""What rules write computes what the layers and operations compute."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from older_keras import marked
from random_data import randomize, values
from unrounded import agrees

from keras_share import export_tflite, quantize_model
from keras_share.quantize import quantization_report

SEQUENCE, IMAGE = (6, 8), (6, 6, 8)


def sequential(shape, layer):
    return keras.Sequential([keras.Input(shape), layer])


NORMALIZATIONS = {
    "layer": (SEQUENCE, layers.LayerNormalization),
    "layer of vectors": ((8,), layers.LayerNormalization),
    "layer of images": (IMAGE, layers.LayerNormalization),
    "layer, two axes": (SEQUENCE, lambda: layers.LayerNormalization(axis=(1, 2))),
    "layer, axes from the end": (
        SEQUENCE,
        lambda: layers.LayerNormalization(axis=[-2, -1]),
    ),
    "layer without offset": (SEQUENCE, lambda: layers.LayerNormalization(center=False)),
    "layer without scale": (SEQUENCE, lambda: layers.LayerNormalization(scale=False)),
    "layer without weights": (
        SEQUENCE,
        lambda: layers.LayerNormalization(center=False, scale=False),
    ),
    "layer, large epsilon": (SEQUENCE, lambda: layers.LayerNormalization(epsilon=0.5)),
    "rms": (SEQUENCE, layers.RMSNormalization),
    "rms, two axes": (SEQUENCE, lambda: layers.RMSNormalization(axis=(1, 2))),
    "group": (SEQUENCE, lambda: layers.GroupNormalization(4)),
    "group of images": (IMAGE, lambda: layers.GroupNormalization(2)),
    "group of each channel": (IMAGE, lambda: layers.GroupNormalization(-1)),
    "group without scale": (
        SEQUENCE,
        lambda: layers.GroupNormalization(2, scale=False),
    ),
}


@pytest.mark.parametrize("name", marked(NORMALIZATIONS, {"rms, two axes"}))
def test_normalizations(name):
    shape, make = NORMALIZATIONS[name]
    steps = agrees(sequential(shape, make()), values(4, *shape))
    assert "InverseRoot" in steps and not any(
        step.endswith("ization") for step in steps
    )


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.LayerNormalization(axis=1),
        lambda: layers.GroupNormalization(2, axis=1),
    ],
    ids=["layer", "group"],
)
def test_normalization_of_other_axes_stays(layer):
    model = sequential(SEQUENCE, layer())
    agrees(model, values(4, *SEQUENCE), tolerance=0)
    [row] = quantization_report(model).float_layers
    assert row.reason == "its axes are not the last ones"


def test_relu_variants():
    cases = {
        (): ["Relu"],
        (("max_value", 6),): ["Relu6"],
        (("max_value", 1.0),): ["Minimum", "Relu"],
        (("negative_slope", 0.2),): ["LeakyRelu"],
        (("negative_slope", 0.2), ("max_value", 1.0)): ["Minimum", "LeakyRelu"],
    }
    for arguments, expected in cases.items():
        model = sequential(SEQUENCE, layers.ReLU(**dict(arguments)))
        assert agrees(model, values(4, *SEQUENCE) * 4) == expected
    x = keras.Input(SEQUENCE)
    model = keras.Model(x, keras.activations.relu(x, max_value=3.0))
    assert agrees(model, values(4, *SEQUENCE) * 4) == ["Minimum", "Relu"]


def test_relu_with_a_threshold_is_looked_up():
    model = sequential(SEQUENCE, layers.ReLU(threshold=0.5))
    [row] = quantization_report(model).rows
    assert (row.kind, row.dtype) == ("LookUp", "int8")


@pytest.mark.parametrize(
    "function",
    [ops.square, ops.negative, ops.hard_sigmoid],
    ids=["square", "negative", "hard_sigmoid"],
)
def test_operations_without_an_integer_operator(function):
    x = keras.Input(SEQUENCE)
    model = keras.Model(x, function(x))
    steps = agrees(model, values(4, *SEQUENCE) * 4)
    assert set(steps) <= {"Add", "Subtract", "Multiply", "Relu6"}


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_softmax_layer(axis):
    model = sequential(SEQUENCE, layers.Softmax(axis=axis))
    assert "Softmax" in agrees(model, values(4, *SEQUENCE))


LAYERS = {
    "time distributed": (
        IMAGE,
        lambda: layers.TimeDistributed(layers.Conv1D(3, 2, activation="relu")),
        ["Reshape", "Conv1D", "Reshape"],
    ),
    "spectral": (SEQUENCE, lambda: layers.SpectralNormalization(layers.Dense(3)), None),
    "unit": (SEQUENCE, layers.UnitNormalization, None),
    "unit, two axes": (SEQUENCE, lambda: layers.UnitNormalization(axis=(1, 2)), None),
    "crop": (IMAGE, lambda: layers.CenterCrop(3, 4), ["GetItem"]),
    "normalization": (
        SEQUENCE,
        lambda: layers.Normalization(mean=np.arange(8.0), variance=np.arange(1.0, 9.0)),
        ["Subtract", "Multiply"],
    ),
    "inverse": (
        SEQUENCE,
        lambda: layers.Normalization(mean=1.0, variance=4.0, invert=True),
        ["Multiply", "Add"],
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_other_layers(name):
    shape, make, expected = LAYERS[name]
    steps = agrees(sequential(shape, make()), values(4, *shape))
    assert expected in (None, steps)


def test_tables_in_both_directions():
    for settings in ({}, {"logit_soft_cap": 3.0}, {"tie_weights": False}):
        ids = keras.Input((6,), dtype="int32")
        table = layers.ReversibleEmbedding(9, 4, **settings)
        model = keras.Model(ids, table(ops.tanh(table(ids)), reverse=True))
        x = np.random.default_rng(0).integers(0, 9, (4, 6))
        assert agrees(model, x)[0] == "Embedding"
        assert not quantization_report(model).float_layers


def test_gated_and_logarithmic_activations():
    x = keras.Input(SEQUENCE)
    for function in (ops.glu, ops.log_softmax):
        agrees(keras.Model(x, function(x)), values(4, *SEQUENCE))
        assert not quantization_report(keras.Model(x, function(x))).float_layers


@pytest.mark.parametrize(
    "subscripts", ["bnd,bde,bn->bne", "bnd,bmd,bn->bm", "bnd,bnd,bnd->bn"]
)
def test_products_of_several_tensors(subscripts, tmp_path):
    x = keras.Input((6, 4))
    own = {"bnd": 4, "bde": 4, "bmd": 4, "bn": 1}
    terms = subscripts.split("->")[0].split(",")
    parts = [layers.Dense(own[term])(x) for term in terms]
    parts = [
        part[..., 0] if term == "bn" else part[:, :4] if term == "bde" else part
        for term, part in zip(terms, parts, strict=True)
    ]
    model = keras.Model(x, ops.einsum(subscripts, *parts))
    assert agrees(model, values(8, 6, 4)).count("Einsum") == len(terms) - 1
    quantized = quantize_model(model, values(8, 6, 4))
    report = export_tflite(
        quantized, tmp_path / "m.tflite", representative_dataset=values(8, 6, 4)
    )
    assert not report.float_operators


def test_orders_are_found_in_floats(tmp_path):
    x = keras.Input((6, 4))
    y = layers.Dense(4)(x)
    y = ops.take_along_axis(y, ops.argsort(y, axis=-1), axis=-1)
    model = randomize(keras.Model(x, layers.Dense(3)(y)))
    with pytest.warns(UserWarning, match="no rule for Argsort"):
        quantized = quantize_model(model, values(8, 6, 4))
    report = export_tflite(
        quantized, tmp_path / "m.tflite", representative_dataset=values(8, 6, 4)
    )
    assert "TOPK_V2" in report.float_operators


@pytest.mark.parametrize(
    "make",
    [
        layers.LayerNormalization,
        lambda: layers.GRU(4, return_sequences=True),
        lambda: layers.TimeDistributed(layers.Dense(4)),
    ],
)
def test_what_is_written_of_a_frozen_layer_is_frozen(make):
    frozen = make()
    model = keras.Sequential([keras.Input((6, 4)), frozen, layers.Dense(3)])
    frozen.trainable = False
    quantized = quantize_model(model)
    assert len(quantized.trainable_weights) == 2
