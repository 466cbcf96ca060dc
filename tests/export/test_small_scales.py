"""Ranges of next to nothing, at which reference kernels end the process."""

import keras
import numpy as np
import pytest
from stock import model_of, operator, tensor

from keras_share import export_tflite
from keras_share.export.small_scales import widen_scales
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.runtimes.agreement import random_inputs
from keras_share.tflite.runtimes.apart import RunError, run_apart
from keras_share.tflite.runtimes.micro import run_micro

MODES = ("reference", "builtin", "interpreter", "micro")


def ends(scale, zero=0):
    quantization = {"scale": np.float32([scale]), "zeroPoint": np.int64([zero])}
    return tensor([1, 8], "int8", **quantization)


def softmax():
    op = operator("SOFTMAX", [0], [1], SoftmaxOptions={"beta": 1.0})
    return model_of(([ends(7.8e-9), ends(1 / 256, -128)], [op]))


def total():
    op = operator("ADD", [0, 1], [2], AddOptions={"potScaleInt16": False})
    return model_of(([ends(0.05), ends(0.05), ends(7.8e-9)], [op]))


def product():
    kernel = ends(0.05)
    kernel.content = np.arange(8, dtype="int8")[None]
    one = ends(7.8e-9)
    one.shape = np.int32([1, 1])
    op = operator("FULLY_CONNECTED", [0, 1, -1], [2], FullyConnectedOptions={})
    return model_of(([ends(0.05), kernel, one], [op]))


def run(mode, model, path):
    path.write_bytes(flatbuffer.pack(model))
    calls = random_inputs(model)
    [outputs] = run_apart("run_once", mode, str(path), calls, timeout=60, fresh=False)
    [output] = outputs.values()
    return output


@pytest.mark.parametrize(
    "make, mode, sign",
    [
        (softmax, "reference", "SIGABRT"),
        (total, "reference", "SIGABRT"),
        (product, "interpreter", "XNNPACK"),
    ],
)
def test_kernels_fail_and_then_run(make, mode, sign, tmp_path):
    pytest.importorskip("tflite_micro")
    path = tmp_path / "model.tflite"
    with pytest.raises(RunError, match=sign):
        run(mode, make(), path)
    model = make()
    widen_scales(model)
    expected, *others = (run(mode, model, path) for mode in MODES)
    assert all(np.abs(other - expected).max() <= 1 for other in others)
    assert make is not softmax or set(expected.ravel()) == {-96}  # all alike


def test_scales_that_run_stay():
    model = softmax()
    model.subgraphs[0].tensors[0].quantization.scale = np.float32([0.01])
    widen_scales(model)
    assert len(model.subgraphs[0].operators) == 1


def test_a_network_whose_scores_vanish(tmp_path):
    """As with random weights those of all of keras.applications do."""
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    model = keras.applications.MobileNet(
        weights=None, input_shape=x.shape[1:], alpha=0.25, classes=5
    )
    path = tmp_path / "model.tflite"
    with pytest.warns(UserWarning, match="all within 1e-6"):
        report = export_tflite(
            model, path, target="cpu", quantization="int8", representative_dataset=x
        )
    assert report.agreement[0].samples == 4
    pytest.importorskip("tflite_micro")
    right = np.asarray(model(x))
    assert np.abs(run_micro(path, x).outputs - right).max() < 0.01
