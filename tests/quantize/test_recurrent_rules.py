"""Recurrent layers: one step of the cell is written, and run in a loop."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from random_data import randomize, values
from unrounded import unrounded

from keras_share import SharedStack, export_tflite, predict_tflite, quantize_model
from keras_share.layers.recurrent import Recurrent
from keras_share.layers.sublayers import sublayers
from keras_share.quantize import FakeQuantize, quantization_report
from keras_share.tflite import run_micro


@keras.saving.register_keras_serializable(package="test_recurrent_rules")
class OwnCell(layers.Layer):
    """A cell of layers, whose output is not its state."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units
        self.of_input, self.of_state = layers.Dense(units), layers.Dense(units)

    def build(self, shape):
        self.of_input.build(shape)
        self.of_state.build((shape[0], self.units))

    def call(self, x, states):
        h = ops.tanh(self.of_input(x) + self.of_state(states[0]))
        return h * 0.5, [h]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def sequential(*parts, length=4):
    return keras.Sequential([keras.Input((length, 8)), *parts])


def handed_on():
    """An encoder whose states are the first ones of a decoder."""
    x = keras.Input((4, 8))
    y, *states = layers.LSTM(5, return_sequences=True, return_state=True)(x)
    y = layers.LSTM(5)(y, initial_state=states)
    return keras.Model(x, layers.Concatenate()([y, states[1]]))


def with_first_state():
    x, h = keras.Input((4, 8)), keras.Input((5,))
    return keras.Model([x, h], layers.GRU(5)(x, initial_state=h))


def embedded():
    table = layers.Embedding(3, 8)
    return keras.Sequential([keras.Input((4,), dtype="int32"), table, layers.GRU(5)])


def masked():
    """Padded sentences, of which some begin with padding."""
    given = [keras.Input((4,), dtype="int32") for _ in range(2)]
    x, y = (layers.Embedding(3, 8, mask_zero=True)(i) for i in given)
    gru = layers.GRU(3, return_sequences=True, return_state=True)
    x, *states = layers.Bidirectional(gru)(x)
    gru = layers.GRU(3, return_sequences=True)
    y = layers.Bidirectional(gru)(y, initial_state=states)
    z = layers.LSTM(3, go_backwards=True)(x, mask=given[0] > 0)
    return keras.Model(given, layers.Concatenate()([y[:, 0], y[:, -1], z]))


def begun_and_masked():
    x, h = keras.Input((4,), dtype="int32"), keras.Input((4,))
    rnn = layers.GRU(4, return_sequences=True, return_state=True)
    y, _ = rnn(layers.Embedding(3, 8, mask_zero=True)(x), initial_state=h)
    return keras.Model([x, h], y)


def every(cell, **settings):
    return lambda: sequential(layers.RNN(cell(), return_sequences=True, **settings))


MODELS = {
    "lstm": lambda: sequential(layers.LSTM(5, return_sequences=True), layers.LSTM(4)),
    "lstm, backwards": lambda: sequential(layers.LSTM(5, go_backwards=True)),
    "lstm, unrolled": lambda: sequential(layers.LSTM(5, unroll=True, dropout=0.5)),
    "lstm, other functions": lambda: sequential(
        layers.LSTM(5, activation="relu", recurrent_activation="hard_sigmoid")
    ),
    "gru": lambda: sequential(layers.GRU(5, return_sequences=True), layers.GRU(4)),
    "gru, reset before": lambda: sequential(layers.GRU(5, reset_after=False)),
    "gru without bias": lambda: sequential(layers.GRU(5, use_bias=False)),
    "convolutions": lambda: keras.Sequential(
        [keras.Input((3, 5, 2)), layers.ConvLSTM1D(2, 3, padding="same")]
    ),
    "simple": lambda: sequential(layers.SimpleRNN(5, return_sequences=True)),
    "simple without function": lambda: sequential(layers.SimpleRNN(5, "linear")),
    "both directions": lambda: sequential(
        layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
        layers.Bidirectional(layers.GRU(3), merge_mode="sum"),
    ),
    "cells in a stack": every(
        lambda: layers.StackedRNNCells([layers.LSTMCell(5), layers.GRUCell(4)])
    ),
    "own cell": every(lambda: OwnCell(5), go_backwards=True),
    "states handed on": handed_on,
    "first state": with_first_state,
    "embedded": embedded,
    "masked": masked,
    "masked, with a first state": begun_and_masked,
    "shared": lambda: sequential(
        SharedStack(layers.LSTM(8, return_sequences=True), "ABA", private="bias")
    ),
}


def samples(model, count=16):
    rng = np.random.default_rng(0)
    found = [
        rng.integers(0, 3, (count, *x.shape[1:]))
        if "int" in x.dtype
        else values(count, *x.shape[1:])
        for x in model.inputs
    ]
    return found if len(found) > 1 else found[0]


def outputs(model, x):
    return [ops.convert_to_numpy(y) for y in keras.tree.flatten(model(x))]


def loops(model):
    return [part for part in sublayers(model) if isinstance(part, Recurrent)]


@pytest.mark.parametrize("name", MODELS)
def test_written_steps_compute_what_the_layer_does(name):
    model = randomize(MODELS[name]())
    opened, graph = unrounded(model)
    assert loops(opened)
    assert not any(isinstance(step.op, layers.RNN) for step in graph.all_steps)
    x = samples(model, 3)
    for actual, expected in zip(outputs(opened, x), outputs(model, x), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


IN_FILES = ("both directions", "own cell", "states handed on", "masked", "shared")


@pytest.mark.parametrize("name", IN_FILES)
def test_files_have_integers_and_compute_what_the_model_does(name, tmp_path):
    model = randomize(MODELS[name]())
    x = samples(model)
    quantized = quantize_model(model, x, strict=True)
    quantized.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    path = tmp_path / "model.tflite"
    report = export_tflite(loaded, path, target="micro", representative_dataset=x)
    assert not report.float_operators
    assert not report.untied
    [y], [again] = outputs(quantized, x), outputs(loaded, x)
    np.testing.assert_array_equal(again, y)
    step = np.ptp(np.append(y, 0)) / 250
    difference = np.abs(predict_tflite(path, x) - y)
    # A value on the edge between two integers can be a step off and is handed on.
    assert np.quantile(difference, 0.99) <= 2 * step
    assert difference.max() <= 4 * step
    # Sigmoids are less exact there, and each step adds to it.
    assert np.abs(run_micro(path, x).outputs - y).max() <= 8 * step


@pytest.mark.parametrize(("layer", "length"), [("LSTM", 64), ("GRU", 500)])
def test_files_are_as_small_as_those_of_dynamic_range(layer, length, tmp_path):
    rnn = getattr(layers, layer)(16)
    model, x = sequential(rnn, layers.Dense(4), length=length), values(4, length, 8)
    path = tmp_path / "model.tflite"
    report = export_tflite(quantize_model(model, x), path, representative_dataset=x)
    assert not report.float_operators
    size = os.path.getsize(path)
    export_tflite(model, path, quantization="dynamic")
    assert size < 1.3 * os.path.getsize(path)


def test_training_has_the_gradients_of_the_layer():
    model = randomize(sequential(layers.LSTM(5, return_sequences=True)))
    opened, _ = unrounded(model)
    x, y = values(8, 4, 8), values(8, 4, 5)
    for trained, settings in (
        (model, {"run_eagerly": True}),
        (opened, {"jit_compile": True}),
    ):
        trained.compile(keras.optimizers.SGD(0.1), "mse", **settings)
        trained.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_allclose(outputs(opened, x)[0], outputs(model, x)[0], atol=1e-5)


def accumulator(length=4):
    """Adds up its inputs."""
    rnn = layers.SimpleRNN(
        1, "linear", False, kernel_initializer="ones", recurrent_initializer="ones"
    )
    return keras.Sequential([keras.Input((length, 1)), rnn])


def range_of_state(model):
    [found] = [
        part
        for part in sublayers(model)
        if isinstance(part, FakeQuantize) and part.name.endswith("state_0_range")
    ]
    return found.ends()


def test_ranges_hold_what_all_steps_saw():
    x = np.array([1, 2, 4, -9], "float32").reshape((1, 4, 1))
    quantized = quantize_model(accumulator(), x)
    np.testing.assert_allclose(range_of_state(quantized), (-2, 7))


def test_training_moves_ranges_once_a_batch():
    x = np.array([1, 2, 4, -9], "float32").reshape((1, 4, 1))
    quantized = quantize_model(accumulator(), x)
    quantized.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    quantized.train_on_batch(10 * x, np.zeros((1, 1)))
    low, high = range_of_state(quantized)
    # By a thousandth of the way, as TFMOT's moving averages; the inputs are cut off.
    assert -2.02 < low < -2 and 7 < high < 7.07


def masked_in_an_own_cell():
    x, mask = keras.Input((4, 8)), keras.Input((4,), dtype="bool")
    return keras.Model([x, mask], layers.RNN(OwnCell(5), name="rnn")(x, mask=mask))


REFUSED = {
    "state from batch to batch": lambda: keras.Sequential(
        [
            keras.Input(batch_shape=(1, 4, 8)),
            layers.LSTM(5, stateful=True, name="rnn"),
        ]
    ),
    "recurrent_dropout": lambda: sequential(
        layers.GRU(5, recurrent_dropout=0.5, name="rnn")
    ),
    "drops out of its inputs": lambda: sequential(
        layers.RNN(layers.LSTMCell(5, dropout=0.5), name="rnn")
    ),
    "length of its input is not known": lambda: sequential(
        layers.GRU(5, name="rnn"), length=None
    ),
    "output of its cell is none of its states": masked_in_an_own_cell,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_stays_in_floating_point_says_why(reason):
    [left] = quantization_report(REFUSED[reason]()).float_layers
    assert (left.name, reason in left.reason) == ("rnn", True)


def test_a_layer_in_floating_point_among_integers(tmp_path):
    model = sequential(layers.Dense(8), REFUSED["recurrent_dropout"]().layers[0])
    x = values(16, 4, 8)
    with pytest.warns(UserWarning, match="rnn"):
        quantized = quantize_model(model, x)
    path = tmp_path / "model.tflite"
    export_tflite(quantized, path, representative_dataset=x)
    expected = outputs(quantized, x)[0]
    np.testing.assert_allclose(predict_tflite(path, x), expected, atol=0.02)


def test_weights_alone_as_integers(tmp_path):
    model = randomize(sequential(layers.LSTM(32)))
    x = values(4, 4, 8)
    quantized = quantize_model(model, quantization="dynamic")
    path = tmp_path / "model.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    kernels = [b for b in report.buffers if b.nbytes >= 1024]
    stored = [(b.dtype, b.shape) for b in kernels]
    assert sorted(stored) == [("int8", (128, 8)), ("int8", (128, 32))]


def test_activations_of_16_bits(tmp_path):
    model = randomize(sequential(layers.GRU(5, return_sequences=True)))
    x, path = values(16, 4, 8), tmp_path / "model.tflite"
    quantized = quantize_model(model, x, quantization="int16")
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators
    expected, actual = outputs(quantized, x)[0], predict_tflite(path, x)
    # Tables of sigmoids have 512 values.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=0.002)
    np.testing.assert_allclose(expected, outputs(model, x)[0], rtol=0, atol=0.05)


def test_a_batch_of_any_size_has_integers_throughout(tmp_path):
    model, x = sequential(layers.LSTM(4), layers.Dense(3)), values(16, 4, 8)
    quantized = quantize_model(model, x)
    report = export_tflite(
        quantized,
        tmp_path / "model.tflite",
        representative_dataset=x,
        dynamic_batch=True,
        inference_input_type="int8",
        inference_output_type="int8",
    )
    assert not report.float_operators


def test_frozen_layers_stay_frozen():
    model = sequential(layers.LSTM(5))
    model.layers[0].trainable = False
    assert not quantize_model(model).trainable_weights


def test_dropout_is_the_same_at_each_step():
    model = sequential(layers.SimpleRNN(4, dropout=0.5, return_sequences=True))
    opened, _ = unrounded(model)
    [dropout] = [x for x in opened.layers if isinstance(x, layers.SpatialDropout1D)]
    kept = dropout(np.ones((1, 4, 8)), training=True)
    assert dropout.rate == 0.5
    np.testing.assert_array_equal(*np.broadcast_arrays(kept, kept[:, :1]))


def test_group_ranges_are_those_of_all_sites():
    stack = SharedStack(layers.GRU(8, return_sequences=True), "AAA")
    model, x = sequential(stack), values(8, 4, 8)
    per_site = quantize_model(model, x)
    per_group = quantize_model(model, x, ranges="group")
    count = [
        sum(isinstance(part, FakeQuantize) for part in sublayers(quantized))
        for quantized in (per_site, per_group)
    ]
    assert count[0] > 2.5 * count[1]


def test_eager_calls_bring_no_warning_of_retracing(monkeypatch):
    said = []
    monkeypatch.setattr(tf.get_logger(), "warning", lambda *text: said.append(text))
    x = values(2, 4, 8)
    quantized = quantize_model(sequential(layers.LSTM(5)), x)
    for _ in range(6):  # TensorFlow warns of the fifth
        quantized(x)
    assert not said
