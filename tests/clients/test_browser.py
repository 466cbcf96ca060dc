import json
import os
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from clients import browser
from keras import layers
from random_data import randomize, values

from keras_share import SharedStack, export_tflite, roll
from keras_share.blocks import TransformerBlock
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.runtimes.agreement import difference, random_inputs
from keras_share.tflite.runtimes.apart_process import interpreter

HERE = Path(__file__).parent

pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")


@pytest.fixture
def needs_browser():
    try:
        browser.find_chromium()
        browser.find_modules()
    except browser.MissingError as error:
        pytest.skip(str(error))


def stack(block, *shape):
    return randomize(keras.Sequential([keras.Input(shape), SharedStack(block, "ABAB")]))


MODELS = {
    "dense": lambda: stack(layers.Dense(32), 32),
    "transformer": lambda: stack(TransformerBlock(2, 64), 5, 32),
}


def exported(name, quantization, path):
    model = MODELS[name]()
    data = values(8, *model.input_shape[1:])
    options = {"quantization": quantization, "representative_dataset": data}
    export_tflite(model, path, target="cpu", **options)
    return path


@pytest.mark.parametrize(
    ("name", "quantization"),
    [
        *(("dense", "float32"), ("dense", "dynamic"), ("dense", "int8")),
        ("transformer", "dynamic"),
    ],
)
def test_files_agree(name, quantization, tmp_path, needs_browser):
    path = exported(name, quantization, tmp_path / "model.tflite")
    assert browser.tolerance(path) == (1e-4 if quantization == "float32" else 4 / 255)
    assert browser.compare(path) <= browser.tolerance(path)


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    path = tmp_path_factory.mktemp("browser") / "dense.tflite"
    export_tflite(MODELS["dense"](), path, target="accelerator")
    return path


def test_a_rolled_file(dense, tmp_path, needs_browser):
    path = tmp_path / "rolled.tflite"
    assert [body.calls for body in roll(dense, path).bodies] == [2]
    assert browser.compare(path) <= 1e-4


def test_loops(tmp_path, needs_browser):
    class Loop(layers.Layer):
        def build(self, shape):
            self.dense = layers.Dense(8)
            self.dense.build(shape)

        def call(self, x):
            start = keras.ops.zeros((), "int32")
            step = lambda i, x: (i + 1, keras.ops.tanh(self.dense(x)))  # noqa: E731
            return keras.ops.while_loop(lambda i, x: i < 3, step, (start, x))[1]

        def compute_output_shape(self, shape):
            return shape

    path = tmp_path / "loop.tflite"
    export_tflite(keras.Sequential([keras.Input((8,)), Loop()]), path)
    assert "WHILE" in {
        flatbuffer.operator_name(model, op)
        for model in [flatbuffer.read(path)]
        for op in model.subgraphs[0].operators
    }
    assert browser.compare(path) <= 1e-4


def test_what_differs_is_seen(dense, needs_browser):
    calls = random_inputs(flatbuffer.read(dense))
    changed = flatbuffer.read(dense)
    index = max(flatbuffer.weights(changed), key=lambda i: len(changed.buffers[i].data))
    kernel = np.frombuffer(flatbuffer.buffer_bytes(changed, index), "float32") * 1.01
    changed.buffers[index].data = np.frombuffer(kernel.tobytes(), np.uint8)
    ours = interpreter("AUTO")(str(dense), calls, 1)()
    theirs = browser.run_in_browser(flatbuffer.pack(changed), calls)
    assert 1e-3 < difference(ours, theirs) < 1


def test_what_does_not_run_is_told(tmp_path, needs_browser):
    with pytest.raises(RuntimeError, match="model"):
        browser.run_in_browser(b"no model", [])
    with pytest.raises(RuntimeError, match="no answer after 0 seconds"):
        browser.run_in_browser(b"no model", [], timeout=0)


def test_the_command(dense, tmp_path, needs_browser, capsys):
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"no model at all")
    assert browser.main([str(bad), str(dense)]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{bad}: does not run: A .tflite model carries")
    assert second.startswith(f"{dense}: agrees, ") and second.endswith("(limit 0.0001)")


@pytest.mark.parametrize(
    ("far", "code", "verdict"), [(1e-4, 0, "agrees"), (2e-4, 1, "DIFFERS")]
)
def test_the_verdict(far, code, verdict, dense, monkeypatch, capsys):
    monkeypatch.setattr(browser, "compare", lambda path: far)
    assert browser.main([str(dense)]) == code
    assert verdict in capsys.readouterr().out


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("CHROMIUM", r"must be installed.*missing.*apt-get install chromium"),
        ("NODE_PATH", r"@litertjs/core must be installed.*`npm ci --prefix .*clients`"),
    ],
)
def test_what_is_missing_is_told(variable, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(variable, str(tmp_path / "missing"))
    monkeypatch.setattr(browser, "__file__", str(tmp_path / "clients" / "browser.py"))
    find = {"CHROMIUM": browser.find_chromium, "NODE_PATH": browser.find_modules}
    with pytest.raises(browser.MissingError, match=message):
        find[variable]()
    monkeypatch.setattr(browser, "compare", lambda path: find[variable]())
    assert browser.main(["model.tflite"]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_one_version_is_installed():
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    locked = json.loads((HERE / "package-lock.json").read_text())["packages"]
    assert locked[""]["dependencies"] == wanted
    for name, version in wanted.items():
        assert locked[os.path.join("node_modules", name)]["version"] == version
