"""What is joined to larger numbers, and read elsewhere."""

import keras
import numpy as np
import pytest
from file_against_model import check_steps, compare
from keras import layers, ops
from random_data import randomize, values

from keras_share import export_tflite, quantize_model
from keras_share.tflite.runtimes.agreement import agreement_of


def joined(times, kind="concatenate"):
    """A branch that is read on its own, and joined to one of larger numbers."""
    x = inputs = keras.Input((4, 8), name="x")
    small = layers.Dense(8, "relu")(x)
    large = layers.Dense(8, "relu")(x) * times
    both = getattr(ops, kind)
    both = (
        both([small, large], axis=-1) if kind == "concatenate" else both(small, large)
    )
    return randomize(
        keras.Model(inputs, [layers.Dense(3)(small), layers.Dense(3)(both)])
    )


@pytest.mark.parametrize("kind", ["concatenate", "maximum"])
@pytest.mark.parametrize("times, requantized", [(1.5, 0), (200.0, 1)])
def test_what_is_joined_to_larger_numbers_keeps_its_steps(
    times, requantized, kind, tmp_path
):
    model, x = joined(times, kind), values(64, 4, 8)
    path = tmp_path / "model.tflite"
    quantized = quantize_model(model, lambda: iter(x[:, None]))
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators
    check_steps(compare(quantized, path.read_bytes(), [x]))
    for expected, found in zip(model(x), quantized(x), strict=True):
        assert agreement_of("", *map(np.asarray, (expected, found)), None).ratio > 28
    counts = {op.name: op.count for op in report.operators}
    assert counts["QUANTIZE"] == 1 + requantized  # that of the input


@pytest.mark.parametrize("mask_zero", [False, True])
def test_numbers_that_are_places_as_well(mask_zero, tmp_path):
    x = keras.Input((5,))  # of floats, as Keras has it
    rows = layers.Embedding(40, 6, mask_zero=mask_zero)(x)
    other = layers.Embedding(40, 6)(x)
    joined = layers.Concatenate()([rows, other, rows * ops.expand_dims(x, -1)])
    model = randomize(keras.Model(x, layers.Dense(3)(joined) + layers.Dense(3)(other)))
    ids = np.random.default_rng(0).integers(1, 40, (64, 5)).astype("float32")
    quantized, path = quantize_model(model, ids), tmp_path / "model.tflite"
    export_tflite(quantized, path, representative_dataset=ids)
    check_steps(compare(quantized, path.read_bytes(), [ids]))
    expected, found = map(np.asarray, (model(ids), quantized(ids)))
    assert agreement_of("", expected, found, None).ratio > 28
