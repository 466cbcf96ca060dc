"""Files and ways to run commands, for the tests of the command line."""

import copy
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from random_data import values

import keras_share
from keras_share.cli.main import program
from keras_share.tflite.file import flatbuffer

UNITS = 16

_MAIN = "import sys\nfrom keras_share.cli.main import main\n"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A model of two kernels, each used twice, and its file."""
    folder = tmp_path_factory.mktemp("cli")
    stack = keras_share.SharedStack(keras.layers.Dense(UNITS, "tanh"), "ABAB")
    x = keras.Input((UNITS,), name="x")
    model = keras.Model(x, stack(x), name="small")
    model.save(folder / "model.keras")
    path = folder / "model.tflite"
    keras_share.export_tflite(model, path, target="accelerator")
    (folder / "copied.tflite").write_bytes(copied(path.read_bytes()))
    (folder / "broken.tflite").write_bytes(path.read_bytes()[:300])
    (folder / "text.tflite").write_text("hello")
    np.save(folder / "samples.npy", values(4, UNITS))
    return folder


def copied(data):
    """The same file with a copy of a kernel for each of its uses."""
    model = flatbuffer.read(data)
    graph = model.subgraphs[0]
    products = [op for op in graph.operators if len(op.inputs) > 1]
    for op in products[2:]:
        kernel = copy.copy(graph.tensors[op.inputs[1]])
        model.buffers.append(model.buffers[kernel.buffer])
        kernel.buffer = len(model.buffers) - 1
        op.inputs = [op.inputs[0], len(graph.tensors), *op.inputs[2:]]
        graph.tensors.append(kernel)
    return flatbuffer.pack(model)


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    """The same files in a folder of one test, which is the current one."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(here):
    """A function that runs a command, expects its exit code, and returns the result."""

    def run(line, code=0):
        done = CliRunner().invoke(program, line.split())
        assert done.exit_code == code, (done.output, done.exception)
        return done

    return run


@pytest.fixture
def cli_json(cli):
    """A function that runs a command with `--json`, and returns the document."""

    def run(line, code=0):
        return json.loads(cli(f"{line} --json", code).stdout)

    return run


@pytest.fixture
def start(here):
    """A function that starts Python code in a process, by default the command line."""
    running = []

    def run(line, code="main()", stderr=subprocess.PIPE, **env):
        process = subprocess.Popen(
            [sys.executable, "-c", _MAIN + code, *line.split()],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **env},
            text=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()
