"""Files of one step: their integers, and their states outside and inside."""

import importlib.util

import keras
import numpy as np
import pytest
from keras import layers

import keras_share as ks
from keras_share.tflite import run_micro
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.runtimes.apart import run_apart

INTEGERS = {"inference_input_type": "int8", "inference_output_type": "int8"}
micro = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None, reason="needs tflite-micro"
)


def sequences(samples=8, frames=32, width=8):
    rng = np.random.default_rng(0)
    return rng.normal(size=(samples, frames, width)).astype("float32")


def randomized(model):
    rng = np.random.default_rng(1)
    for v in model.trainable_variables:
        if len(v.shape) > 1:
            v.assign(rng.normal(size=v.shape) * 0.4)
    return model


def block():
    return ks.blocks.SeparableConvBlock(3, rank=1, padding="causal")


def in_steps(path, x, step):
    rows = [{"x": x[:, i : i + step]} for i in range(0, x.shape[1], step)]
    outputs = run_apart("run_steps", str(path), rows, timeout=60)
    return np.concatenate([row["output"] for row in outputs], axis=1)


MODELS = {
    "shared": lambda: [
        layers.Conv1D(8, 3, padding="causal", activation="relu"),
        ks.SharedStack(block(), "ABA"),
    ],
    "fixed ranges": lambda: [
        layers.Conv1D(8, 3, padding="causal", activation="sigmoid"),
        layers.Conv1D(8, 3, padding="causal", activation="tanh"),
        layers.Conv1D(4, 2, padding="causal", strides=2),
    ],
    "late": lambda: [
        layers.Conv1D(8, 3, activation="relu"),
        layers.Conv1D(8, 3, padding="causal"),
        layers.GRU(8, return_sequences=True),
    ],
    "attention": lambda: [
        ks.SharedStack(ks.blocks.WindowedAttention(2, 5), "AA"),
        layers.Dense(4),
    ],
    "lstm": lambda: [layers.LSTM(8, return_sequences=True), layers.Dense(4)],
}


@pytest.mark.parametrize("name", MODELS)
def test_integers_are_those_of_the_whole_sequence(name, tmp_path):
    x = sequences()
    inputs = keras.Input((32, 8), name="x")
    model = randomized(keras.Sequential([inputs, *MODELS[name]()]))
    quantized = ks.quantize_model(model, x)
    streamed = ks.streaming(quantized, 2)
    paths = {form: tmp_path / form for form in ("whole", "external", "internal")}
    ks.export_tflite(quantized, paths["whole"], **INTEGERS)
    [[whole]] = [
        list(row.values())
        for row in run_apart(
            "run_steps", str(paths["whole"]), [{"x": x[:1]}], timeout=60
        )
    ]
    late = ks.stream.delays(model, 2)["output"]
    for form in ("external", "internal"):
        report = ks.export_tflite(streamed, paths[form], state=form, **INTEGERS)
        assert not report.float_operators
        assert report.agreement
        found = in_steps(paths[form], x[:1], 2)[:, late:]
        frames = min(found.shape[1], whole.shape[1])
        np.testing.assert_array_equal(found[:, :frames], whole[:, :frames])
    [graph, *_] = flatbuffer.read(paths["internal"]).subgraphs
    assert (len(graph.inputs), len(graph.outputs)) == (1, 1)


def test_states_are_integers_also_where_samples_are_reals(tmp_path):
    x = sequences()
    inputs = keras.Input((None, 8), name="x")
    layer = layers.Conv1D(4, 3, padding="causal", activation="sigmoid", name="first")
    model = keras.Sequential([inputs, layer, layers.GRU(4, return_sequences=True)])
    streamed = ks.streaming(randomized(model), 2)
    report = ks.export_tflite(
        streamed,
        tmp_path / "model.tflite",
        quantization="int8",
        representative_dataset=lambda: ks.stream.steps(streamed, x[:2]),
    )
    assert not report.float_operators
    model = flatbuffer.read(tmp_path / "model.tflite")
    [signature] = model.signatureDefs
    tensors = [
        {
            end.name: model.subgraphs[0].tensors[end.tensorIndex]
            for end in ends
            if b".state" in end.name
        }
        for ends in (signature.inputs, signature.outputs)
    ]
    assert len(tensors[0]) == 2
    for name, state in tensors[0].items():
        ends = [state, tensors[1][name]]
        assert [flatbuffer.dtype_name(t.type) for t in ends] == ["int8", "int8"]
        ranges = [(t.quantization.scale, t.quantization.zeroPoint) for t in ends]
        assert ranges[0] == ranges[1]


@micro
def test_twelve_tied_sites_in_micro(tmp_path):
    x = sequences(4, 32, 40)
    inputs = keras.Input((32, 40), name="x")
    reports = {}
    for pattern, target in (("shared", "micro"), ("unshared", "accelerator")):
        parts = [
            layers.Conv1D(80, 3, padding="causal", activation="relu"),
            ks.SharedStack(block(), pattern, num_sites=12),
            layers.Conv1D(12, 1),  # FULLY_CONNECTED rounds otherwise in Micro
        ]
        model = randomized(keras.Sequential([inputs, *parts]))
        streamed = ks.streaming(ks.quantize_model(model, x, ranges="group"))
        path = tmp_path / pattern
        reports[pattern] = ks.export_tflite(streamed, path, target=target, **INTEGERS)
    report = reports["shared"]
    assert not report.float_operators
    assert report.file_bytes < reports["unshared"].file_bytes / 3
    per_site = 3 * 80 + 80 * 80 + 80  # depthwise, pointwise, normalization
    assert report.macs <= 1.1 * (3 * 40 * 80 + 12 * per_site + 80 * 12)
    assert report.metadata["arena_bytes"] < 30_000
    rows = [{"x": x[:1, i : i + 1]} for i in range(32)]
    path = str(tmp_path / "shared")
    outputs = run_apart("run_steps", path, rows, timeout=60)
    states = [name for name in outputs[0] if name != "output"]
    assert len(states) == 13
    # Each step of Micro begins with the states that LiteRT came to.
    given = {name: np.stack([o[name][0] for o in outputs[:-1]]) for name in states}
    given["x"] = np.stack([row["x"][0] for row in rows[1:]])
    run = run_micro(path, given, raw=True)
    for name, y in run.outputs.items():
        np.testing.assert_array_equal(y, np.stack([o[name][0] for o in outputs[1:]]))


@micro
def test_states_inside_of_micro(tmp_path):
    x = sequences()
    inputs = keras.Input((32, 8), name="x")
    model = randomized(keras.Sequential([inputs, *MODELS["shared"]()]))
    streamed = ks.streaming(ks.quantize_model(model, x), 4)
    path = tmp_path / "model.tflite"
    report = ks.export_tflite(
        streamed, path, target="micro", state="internal", **INTEGERS
    )
    steps = np.concatenate([x[:1, i : i + 4] for i in range(0, 32, 4)])
    run = run_micro(path, steps, raw=True)
    assert run.arena_bytes == report.metadata["arena_bytes"]
    expected = in_steps(path, x[:1], 4)
    np.testing.assert_array_equal(run.outputs.reshape(expected.shape), expected)


def test_bad_arguments():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"one of external, internal.*'inner'"):
        ks.export_tflite(model, "model.tflite", state="inner")
    with pytest.raises(ValueError, match="leave dynamic_batch=False"):
        ks.export_tflite(model, "m.tflite", state="internal", dynamic_batch=True)
    with pytest.raises(ValueError, match="for a model with states"):
        ks.export_tflite(model, "model.tflite", state="internal")
