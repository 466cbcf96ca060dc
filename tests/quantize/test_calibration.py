import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

from keras_share import export_tflite, predict_tflite, quantize_model
from keras_share.layers.recurrent import Recurrent
from keras_share.quantize import FakeQuantize, calibrate


def test_bad_samples_leave_the_ranges_alone():
    x = values(8, 4)
    quantized = quantize_model(
        keras.Sequential([keras.Input((4,)), layers.Dense(3)]), x
    )
    before = np.asarray(quantized(x))
    with pytest.raises(ValueError, match="must have the shape"):
        calibrate(quantized, x[:, :3])
    np.testing.assert_array_equal(before, quantized(x))


def attention(depth=2, more=None):
    """Layers of attention under one mask that is added to their scores."""
    tokens, mask = keras.Input((6, 8), name="tokens"), keras.Input((6, 6), name="mask")
    h, added = tokens, ops.expand_dims(mask, 1)
    for _ in range(depth):
        query, key, value = (layers.Dense(8)(h) for _ in range(3))
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 1))) * 0.3
        weights = ops.softmax(ops.expand_dims(scores, 1) + added)
        h = h + layers.Dense(8)(ops.matmul(ops.squeeze(weights, 1), value))
    outputs = [layers.Dense(3)(h)]
    outputs += [more(mask)] if more else []
    return randomize(keras.Model([tokens, mask], outputs))


def samples(low):
    mask = np.where(np.random.default_rng(0).random((64, 6, 6)) < 0.7, 0, low)
    mask[:, range(6), range(6)] = 0
    mask[0, 0] = low  # masked throughout: any weights are right
    return [values(64, 6, 8), mask.astype("float32")]


def ratio(expected, actual):
    return 10 * np.log10(np.square(expected).sum() / np.square(expected - actual).sum())


@pytest.mark.parametrize(
    "low, scheme, target",
    [(-1e9, "int8", "micro"), (-1e4, "int8", "auto"), (-1e9, "int16", "auto")],
)
def test_scores_are_told_apart_beside_a_mask_among_the_inputs(
    low, scheme, target, tmp_path
):
    model, x = attention(), samples(low)
    quantized = quantize_model(model, x, quantization=scheme)
    expected = np.asarray(model(x))[1:]
    assert ratio(expected, np.asarray(quantized(x))[1:]) > 25
    report = export_tflite(
        quantized, tmp_path / "m.tflite", target=target, representative_dataset=x
    )
    assert not report.float_operators


def ranges(model):
    return {x.name: x.ends() for x in model.layers if isinstance(x, FakeQuantize)}


def test_what_a_mask_was_cut_to_stays_in_training():
    x = samples(-1e9)
    quantized = quantize_model(attention(depth=1), x)
    quantized.compile("sgd", "mse", run_eagerly=True)
    before = ranges(quantized)
    assert -100 < before["mask_range"][0] < -10
    quantized.fit(x, np.zeros((64, 6, 3)), verbose=0)
    after = ranges(quantized)
    assert after["mask_range"] == before["mask_range"]
    assert sum(after[name] != before[name] for name in after) > 5
    loaded = keras.models.clone_model(quantized)
    assert not loaded.get_layer("mask_range").trainable


@pytest.mark.parametrize(
    "more", [lambda mask: mask * 1.0, lambda mask: ops.mean(mask, axis=-1)]
)
def test_a_mask_that_is_read_otherwise_keeps_its_range(more):
    x = samples(-1e9)
    quantized = quantize_model(attention(depth=1, more=more), x)
    assert ranges(quantized)["mask_range"][0] < -9e8


def test_scores_of_which_logarithms_are_taken_keep_their_range():
    inputs, dense = keras.Input((6,)), layers.Dense(6, name="scored")
    model = randomize(keras.Model(inputs, ops.log(ops.softmax(dense(inputs)))))
    dense.bias.assign([-80.0, 0, 0, 0, 0, 0])  # a class that is rare, and not masked
    with pytest.warns(UserWarning, match="stay in floating point"):
        quantized = quantize_model(model, values(32, 6))
    assert ranges(quantized)["scored_range"][0] < -70


@pytest.mark.parametrize("places, float_operators", [(200, set()), (300, {"SOFTMAX"})])
def test_many_places_under_a_mask(places, float_operators, tmp_path):
    # Together those without weight have none, also where the softmax is of floats.
    x, mask = keras.Input((places,)), keras.Input((places,))
    y = ops.softmax(layers.Dense(places)(x) + mask)
    model = randomize(keras.Model([x, mask], layers.Dense(3)(y)))
    few = np.random.default_rng(0).random((32, places)) < 0.02
    few[:, 0] = True
    data = [values(32, places), np.where(few, 0, -1e9).astype("float32")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        quantized = quantize_model(model, data)
    assert ratio(*(np.asarray(m(data)) for m in (model, quantized))) > 25
    path = tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=data)
    assert set(report.float_operators) == float_operators


def test_the_more_places_the_lower_the_scores_that_count():
    """All that have no weight have none together."""
    lows = []
    for places in (8, 200):
        x = keras.Input((places,))
        scores = np.full((8, places), -90.0, "float32")
        scores[:, 0] = 0.0
        model = keras.Model(x, layers.Dense(2)(ops.softmax(x)))
        quantized = quantize_model(model, scores)
        lows.append(min(low for low, _ in ranges(quantized).values()))
    assert lows[0] - lows[1] == pytest.approx(np.log(25), abs=0.01)


def test_scores_within_reach_of_a_softmax_keep_their_range():
    x = samples(-5.0)
    quantized = quantize_model(attention(depth=1), x)
    assert ranges(quantized)["mask_range"] == (-5.0, 0.0)
    assert quantized.get_layer("mask_range").trainable


@pytest.mark.parametrize("count", [3, 14])
def test_a_model_of_a_batch_size_of_its_own_and_a_loop(count):
    inputs = keras.Input(batch_shape=(5, 4, 3))
    model = keras.Model(inputs, layers.Dense(2)(layers.GRU(4)(inputs)))
    x = values(14, 4, 3)
    quantized = quantize_model(randomize(model), x[:count])
    assert ratio(np.asarray(model(x[:5])), np.asarray(quantized(x[:5]))) > 20


def test_a_loop_is_traced_once_for_all_samples(monkeypatch):
    traces, trace = [], Recurrent._loop
    model = keras.Sequential([keras.Input((3, 2), name="x"), layers.GRU(2)])
    quantized = quantize_model(randomize(model), x := values(70, 3, 2))
    together = ranges(quantized)
    monkeypatch.setattr(
        Recurrent, "_loop", lambda *args: traces.append(args) or trace(*args)
    )
    calibrate(quantized, x)
    assert len(traces) == 1
    assert ranges(quantized) == together
    assert ranges(quantized)["x_range"] == (x.min(), x.max())
    # What it does later is not what was traced.
    y = keras.ops.convert_to_numpy(quantized(x))
    assert len(traces) == 2 and len(np.unique(y)) < 257
    assert ratio(np.asarray(model(x)), y) > 20


JUMPS = {"sign": ops.sign, "round": ops.round, "fast sine": lambda x: ops.sin(50 * x)}
SMOOTH = {
    "elu": ops.elu,
    "abs": lambda x: ops.abs(ops.sin(x)),
    "shrink": ops.hard_shrink,
}


@pytest.mark.parametrize("name", [*JUMPS, *SMOOTH])
def test_functions_that_jump_are_named(name):
    inputs = keras.Input((8,))
    y = {**JUMPS, **SMOOTH}[name](layers.Dense(8)(inputs))
    model = randomize(keras.Model(inputs, layers.Dense(3)(y)))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        quantize_model(model, values(64, 8))
    found = [str(x.message) for x in told if "that jump" in str(x.message)]
    assert len(found) == (name in JUMPS)
    assert all("look_up" not in x and "quantization='int16'" in x for x in found)


def test_a_choice_of_two_constants(tmp_path):
    inputs, x = keras.Input((8,)), values(16, 8)
    y = ops.where(layers.Dense(8)(inputs) > 0.3, 1.0, -2.0)
    quantized = quantize_model(keras.Model(inputs, layers.Dense(3)(y)), x)
    export_tflite(quantized, tmp_path / "m.tflite", representative_dataset=x)


@pytest.mark.parametrize("bits", ["int8", "int16"])
@pytest.mark.parametrize("size", [1e-9, 1e-5])
def test_ranges_that_the_converter_widens(size, bits, tmp_path):
    inputs, x = keras.Input((8,)), values(32, 8) * size
    dense = layers.Dense(8, "relu", name="hidden")
    model = randomize(keras.Sequential([inputs, dense, layers.Dense(3)]))
    for layer in model.layers:
        layer.bias.assign(layer.bias * size)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        quantized = quantize_model(model, x, quantization=bits)
    found = [str(y.message) for y in told if "within 1e-6" in str(y.message)]
    assert len(found) == (size < 1e-6)
    assert all(re.search(r"ranges of \de-09 of '.*'", y) for y in found)
    export_tflite(quantized, tmp_path / "m.tflite", representative_dataset=x)
    difference = predict_tflite(tmp_path / "m.tflite", x) - quantized(x)
    step = 1e-6 / (255 if bits == "int8" else 65534)
    assert abs(difference).numpy().max() < max(1.1 * step, 0.02 * size)
