import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers
from random_data import randomize, values

import keras_share
from keras_share import export_tflite
from keras_share.tflite.runtimes import micro
from keras_share.tflite.runtimes.micro import run_micro

X = values(6, 12, 8)

pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")


def convolutional():
    return randomize(
        keras.Sequential(
            [
                keras.Input((12, 8)),
                layers.Conv1D(16, 3, activation="relu"),
                layers.GlobalAveragePooling1D(),
                layers.Dense(4),
            ]
        )
    )


@pytest.fixture(scope="module", autouse=True)
def runtime():
    return pytest.importorskip("tflite_micro")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("micro")
    for scheme in ("float32", "int8"):
        export_tflite(
            convolutional(),
            folder / f"{scheme}.tflite",
            quantization=scheme,
            representative_dataset=X,
        )
    return folder


@pytest.fixture(scope="module")
def integers():
    """A file with int8 at both ends."""
    converter = tf.lite.TFLiteConverter.from_keras_model(convolutional())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in X)
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def reference(source, samples):
    """The outputs of LiteRT's reference kernels."""
    source = source if isinstance(source, bytes) else source.read_bytes()
    interpreter = Interpreter(
        model_content=source,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    [taken], [given] = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for x in samples:
        interpreter.set_tensor(taken["index"], x[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(given["index"]))
    return np.concatenate(rows)


def check_near_ties(ours, theirs):
    """Equal, but for a step where Micro's FULLY_CONNECTED rounds the other way."""
    ours, theirs = ours.astype("float32"), theirs.astype("float32")
    step = np.diff(np.unique(theirs)).min()
    assert np.abs(ours - theirs).max() <= 1.01 * step
    assert np.mean(np.abs(ours - theirs) < 0.5 * step) >= 0.9


def test_float_ends(files, capfd):
    run = run_micro(files / "float32.tflite", X)
    np.testing.assert_allclose(
        run.outputs, reference(files / "float32.tflite", X), atol=1e-6
    )
    run = run_micro(files / "int8.tflite", X)
    check_near_ties(run.outputs, reference(files / "int8.tflite", X))
    one = run_micro(files / "int8.tflite", X[:1])
    np.testing.assert_array_equal(one.outputs, run.outputs[:1])
    assert capfd.readouterr() == ("", "")


def test_integers_on_request(integers):
    samples = np.random.default_rng(0).integers(-128, 128, X.shape).astype("int8")
    run = run_micro(integers, samples, raw=True)
    assert run.outputs.dtype == "int8" and run.outputs.shape == (6, 4)
    check_near_ties(run.outputs, reference(integers, samples))
    interpreter = Interpreter(model_content=integers)
    scale, zero_point = interpreter.get_output_details()[0]["quantization"]
    real = run_micro(integers, samples).outputs
    expected = (run.outputs.astype("float32") - zero_point) * np.float32(scale)
    np.testing.assert_array_equal(real, expected, strict=True)


def test_the_same_forms_and_numbers_as_in_litert(integers):
    interpreter = Interpreter(model_content=integers)
    scale, _ = interpreter.get_output_details()[0]["quantization"]
    [name] = interpreter.get_signature_runner().get_input_details()
    forms = [X, [X], {name: X}, lambda: (X[i : i + 2] for i in (0, 2, 4))]
    first, *others = (run_micro(integers, form, raw=True).outputs for form in forms)
    for other in others:
        np.testing.assert_array_equal(other, first)
    for raw in (False, True):
        ours = run_micro(integers, X, raw=raw).outputs
        for form in forms:
            theirs = keras_share.predict_tflite(integers, form, raw=raw)
            assert theirs.dtype == ours.dtype and theirs.shape == ours.shape
            # XNNPACK rounds some of them the other way.
            step = 1.01 if raw else 1.01 * scale
            assert np.abs(ours - theirs.astype("float32")).max() <= step


def test_real_numbers_are_quantized(integers):
    interpreter = Interpreter(model_content=integers)
    scale, zero_point = interpreter.get_input_details()[0]["quantization"]
    samples = X.copy()
    samples[0, 0] = 100, -100, *range(6)  # the first two are out of range
    steps = np.clip(np.round(samples / scale) + zero_point, -128, 127).astype("int8")
    ours, theirs = run_micro(integers, samples), run_micro(integers, steps)
    np.testing.assert_array_equal(ours.outputs, theirs.outputs)


@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_the_arena_is_the_smallest(scheme, files):
    path = files / f"{scheme}.tflite"
    size = run_micro(path, X[:1]).arena_bytes
    assert size % 16 == 0 and 1000 < size < 10_000
    # Too small ones are an error at most sizes, and a crash at some.
    sizes = [*range(0, size, 256), size - 16, size, size + 16, 2 * size]
    code = (
        "import resource, apart_process\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        f"data = open({str(path)!r}, 'rb').read()\n"
        f"print([s for s in {sizes} if apart_process.fits(data, s)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(micro.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == f"[{size}, {size + 16}, {2 * size}]".split()


def test_several_inputs_and_outputs(tmp_path):
    left, right = keras.Input((3,), name="b"), keras.Input((5,), name="a")
    outputs = {"x": layers.Dense(4, "relu")(left), "y": layers.Dense(2)(right)}
    model = keras.Model([left, right], outputs)
    export_tflite(model, tmp_path / "model.tflite")
    inputs = {"a": values(4, 5), "b": values(4, 3)}
    run = run_micro(tmp_path / "model.tflite", inputs)
    expected = model([inputs["b"], inputs["a"]])
    assert set(run.outputs) == {"x", "y"}
    for name, output in run.outputs.items():
        np.testing.assert_allclose(output, expected[name], atol=1e-6)
    for wrong in (inputs["a"], {**inputs, "a": values(3, 5)}, {"a": inputs["a"]}):
        with pytest.raises(
            ValueError, match=r"takes {'b': \('samples', 3, 'float32'\), 'a"
        ):
            run_micro(tmp_path / "model.tflite", wrong)


def test_unknown_operators_are_named(tmp_path):
    inputs = keras.Input((4,))
    x = layers.Dense(4, "gelu")(inputs)
    x = layers.Dense(4, "relu")(keras.ops.arctan2(x, inputs))
    export_tflite(keras.Model(inputs, x), tmp_path / "model.tflite")
    with pytest.raises(ValueError, match=r"It lacks ATAN2, GELU\. Received: .*model\."):
        run_micro(tmp_path / "model.tflite", values(2, 4))


def test_what_cannot_run_is_told(tmp_path):
    path = tmp_path / "dynamic.tflite"
    model = keras.Sequential([keras.Input((64,)), layers.Dense(64)])
    export_tflite(model, path, quantization="dynamic")
    with pytest.raises(ValueError, match=r"FLOAT32 with filter type: INT8 not supp"):
        run_micro(path, values(2, 64))


@pytest.mark.parametrize("shape", [(12, 8), (6, 12, 9), (0, 12, 8), ()])
def test_inputs_that_do_not_fit(shape, files):
    with pytest.raises(
        ValueError, match=r"\('samples', 12, 8, 'float32'\)}\. Received: "
    ):
        run_micro(files / "int8.tflite", np.zeros(shape, "float32"))


def test_too_slow(files):
    with pytest.raises(ValueError, match=r"within `timeout` seconds.*timeout=0.01 for"):
        run_micro(files / "int8.tflite", X, timeout=0.01)
    with pytest.raises(ValueError, match=r"`timeout` must be a number.*timeout=inf"):
        run_micro(files / "int8.tflite", X, timeout=float("inf"))


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Received: .*missing\.tflite"):
        run_micro(tmp_path / "missing.tflite", X)
    with pytest.raises(ValueError, match="identifier b'TFL3'"):
        run_micro(b"no model at all", X)


def test_without_the_package(files, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="`pip install tflite-micro`"):
        run_micro(files / "int8.tflite", X)


def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(micro).failed == 0
