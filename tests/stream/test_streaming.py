import subprocess
import sys

import keras
import numpy as np
import pytest
from causal_graphs import CausalGraphs
from keras import layers, ops
from other_backends import BACKENDS, environment

import keras_share
from keras_share.stream import delays, initial_states, run, steps
from keras_share.stream.streaming import streaming


def check_same(model, step, x):
    """That a model computes the same in steps as at once."""
    expected = model(x, training=False)
    expected = expected if isinstance(expected, dict) else {"output": expected}
    late = delays(model, step)
    found = run(streaming(model, step), x)
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        y = ops.convert_to_numpy(tensor)
        if name not in late:
            np.testing.assert_allclose(found[name][:, -1], y, atol=1e-5)
            continue
        z = found[name][:, late[name] :]
        frames = min(z.shape[1], y.shape[1])
        assert frames > 3
        np.testing.assert_allclose(z[:, :frames], y[:, :frames], atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_random_models_compute_the_same_in_steps(seed):
    graphs = CausalGraphs(seed)
    model = graphs.model()
    fits = [n for n in range(1, 9) if n % graphs.stride == 0]
    step = fits[seed % len(fits)]
    check_same(model, step, graphs.sequences(step * (80 // step)))
    for n in range(1, graphs.stride):
        with pytest.raises(ValueError, match=r"must divide .* take a step of a mult"):
            streaming(model, n)


PARTED = {
    "padding": layers.ZeroPadding2D(((2, 0), (1, 1))),
    "pad": lambda x: ops.pad(x, ((0, 0), (2, 0), (1, 1), (0, 0))),
    "cropping": layers.Cropping2D(((2, 0), (1, 1))),
    "slices": lambda x: x[:, 2:, 1:-1, :1],
    "a place": lambda x: x[:, 2:, 1],
}


@pytest.mark.parametrize("kind", PARTED)
def test_time_and_other_axes_at_once(kind):
    inputs = keras.Input((None, 6, 3))
    model = keras.Model(inputs, layers.Dense(2)(PARTED[kind](inputs)))
    check_same(model, 2, np.random.default_rng(0).normal(size=(2, 12, 6, 3)))


def test_layers_made_for_one_length(tmp_path):
    inputs = keras.Input((12, 8))
    x = layers.EinsumDense("abc,cd->abd", (12, 8))(inputs)
    relax = keras_share.Templates(2)
    x = keras_share.SharedStack(layers.Dense(8), "AAA", relax=relax)(x)
    model, data = (
        keras.Model(inputs, x),
        np.random.default_rng(0).normal(size=(2, 12, 8)),
    )
    check_same(model, 2, data)
    streaming(model, 2).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(run(loaded, data)["output"], model(data), atol=1e-5)


def test_names_of_states_are_no_others():
    inputs = keras.Input((None, 4), name="a")
    x = layers.Conv1D(4, 3, padding="causal", name="conv")(inputs)
    model = keras.Model(inputs, {"conv.state": x, "y": layers.Dense(2)(x)})
    streamed = streaming(model, 2)
    assert list(streamed.output) == ["conv.state", "y", "conv.state_1"]
    assert list(initial_states(streamed)) == ["conv.state_1"]
    check_same(model, 2, np.random.default_rng(0).normal(size=(2, 12, 4)))


def stack(pattern="AAAA"):
    block = keras_share.blocks.SeparableConvBlock(3, rank=1, padding="causal")
    return keras_share.SharedStack(block, pattern, name="stack")


def test_what_is_tied_stays_tied_with_states_of_their_own(tmp_path):
    model = keras.Sequential([keras.Input((None, 8)), stack()])
    streamed = streaming(model, 2)
    assert len(initial_states(streamed)) == 4
    assert streamed.count_params() == model.count_params()
    streamed.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(3, 12, 8)).astype("float32")
    for one in (streamed, loaded):
        np.testing.assert_allclose(run(one, x)["output"], model(x), atol=1e-5)
    assert loaded.count_params() == model.count_params()


def test_images_of_time_and_frequency():
    model = keras.Sequential(
        [
            keras.Input((None, 10, 1)),
            layers.Conv2D(4, (4, 3), strides=(2, 2)),
            keras_share.blocks.SeparableConvBlock((3, 3), padding="causal"),
            layers.ZeroPadding2D(((2, 0), (0, 0))),
            layers.MaxPooling2D((3, 2), strides=(1, 2)),
            layers.Reshape((-1, 8)),
            layers.Dense(3),
        ]
    )
    x = np.random.default_rng(0).normal(size=(2, 48, 10, 1)).astype("float32")
    check_same(model, 4, x)


def test_known_lengths_and_several_inputs():
    audio, speaker = keras.Input((24, 6), name="audio"), keras.Input((3,), name="who")
    x = layers.Reshape((24, 2, 3))(audio)
    x = layers.Reshape((24, 6))(x) + layers.Dense(6)(speaker)[:, None]
    x = layers.Conv1D(5, 3, padding="causal")(x)
    model = keras.Model([audio, speaker], layers.GRU(4)(x))
    rng = np.random.default_rng(0)
    given = rng.normal(size=(2, 24, 6)), rng.normal(size=(2, 3))
    given = [x.astype("float32") for x in given]
    streamed = streaming(model, 3)
    found = run(streamed, dict(zip(["audio", "who"], given, strict=True)))
    np.testing.assert_allclose(found["output"][:, -1], model(given), atol=1e-5)


def test_steps_are_samples():
    model = keras.Sequential([keras.Input((None, 4), name="x"), layers.Conv1D(2, 3)])
    streamed = streaming(model, 2)
    x = np.random.default_rng(0).normal(size=(2, 7, 4)).astype("float32")
    samples = list(steps(streamed, x))
    assert len(samples) == 6  # three of each, the last frame fills none
    np.testing.assert_array_equal(samples[3]["x"], x[1:, 2:4])
    [state] = initial_states(streamed)
    np.testing.assert_array_equal(samples[1][state], np.zeros((1, 2, 4)))
    np.testing.assert_array_equal(samples[3][state], x[1:, :2])


def test_all_that_cannot_stream_is_named_with_what_can():
    inputs = keras.Input((20, 8))
    x = layers.Conv1D(8, 3, padding="same", name="same")(inputs)
    x = layers.DepthwiseConv1D(3, padding="same", name="depthwise")(x)
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True), name="both")(x)
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = layers.GroupNormalization(2, name="norm")(x)
    x = layers.LSTM(8, return_sequences=True, go_backwards=True, name="back")(x)
    pooled = layers.GlobalAveragePooling1D(name="pool")(x)
    model = keras.Model(inputs, [layers.Flatten(name="flat")(x), pooled])
    with pytest.raises(ValueError, match="known number of past") as error:
        streaming(model)
    for name, advice in {
        "same": "padding='causal'",
        "depthwise": r"padding='valid' behind a padding by (2, 0)",
        "both": "its forward layer",
        "attention": "causal convolutions",
        "norm": "LayerNormalization",
        "back": "go_backwards=False",
        "pool": "AveragePooling1D",
        "flat": "Conv1D(units, length)",
    }.items():
        _, told = str(error.value).split(f"'{name}' (")
        assert advice in told.split("; '")[0]


def test_bad_arguments():
    model = keras.Sequential([keras.Input((None, 4)), layers.Dense(2)])
    with pytest.raises(ValueError, match="`step` must be an integer"):
        streaming(model, 0)
    with pytest.raises(ValueError, match="must have one length"):
        a, b = keras.Input((4, 3)), keras.Input((5, 3))
        streaming(keras.Model([a, b], [layers.Dense(2)(x) for x in (a, b)]))
    with pytest.raises(ValueError, match="model of one step is needed"):
        initial_states(model)
    with pytest.raises(ValueError, match=r"must have the shapes .*Received: \{'"):
        run(streaming(model), np.zeros((2, 5, 3)))


CODE = """
import keras, numpy as np, keras_share as ks
block = ks.blocks.SeparableConvBlock(3, rank=1, padding="causal")
model = keras.Sequential(
    [
        keras.Input((None, 4)),
        ks.SharedStack(block, "AA"),
        keras.layers.Conv1D(4, 2),
        keras.layers.GRU(3, return_sequences=True),
    ]
)
x = np.random.default_rng(0).normal(size=(2, 8, 4)).astype("float32")
y = ks.stream.run(ks.streaming(model, 2), x)["output"][:, 1:]
np.testing.assert_allclose(y, keras.ops.convert_to_numpy(model(x)), atol=1e-5)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_backend(backend):
    code = [sys.executable, "-c", CODE]
    subprocess.run(code, check=True, env=environment(backend))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs TFMOT")
@pytest.mark.parametrize("seed", [1, 4])
def test_a_quantized_model_rounds_in_steps_as_it_does_at_once(seed):
    graphs = CausalGraphs(seed)
    model = graphs.model(64)
    x = graphs.sequences(64)
    quantized = keras_share.quantize_model(model, x)
    streamed = streaming(quantized, 4)
    late = delays(quantized, 4)["frames"]
    found = run(streamed, x)["frames"][:, late:]
    expected = quantized.predict_on_batch(x)["frames"]
    frames = min(found.shape[1], expected.shape[1])
    np.testing.assert_array_equal(found[:, :frames], expected[:, :frames])


def test_what_only_training_does_is_left_out():
    model = keras.Sequential(
        [
            keras.Input((None, 4)),
            layers.TimeDistributed(layers.Dense(3)),
            layers.GRU(4, return_sequences=True, recurrent_dropout=0.5, dropout=0.5),
            layers.UpSampling1D(2),
            layers.Conv1D(3, 3, padding="causal"),
        ]
    )
    x = np.random.default_rng(0).normal(size=(2, 12, 4)).astype("float32")
    check_same(model, 3, x)


def test_the_last_frame_must_be_one_of_the_last_step():
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, layers.GRU(3, name="sum")(inputs[:, :-2]))
    with pytest.raises(ValueError, match=r"'sum' \(GRU\): it takes the last of"):
        streaming(model)
