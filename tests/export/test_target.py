"""What each target makes of a model."""

import importlib.util

import keras
import numpy as np
import pytest
from keras import layers
from random_data import randomize, values

import keras_share
from keras_share import SharedStack, audit, export_tflite, quantize_model
from keras_share.tflite.repeats import compare
from keras_share.tflite.runtimes.apart import RunTimeoutError


def model_of(width, activation="relu"):
    stack = SharedStack(layers.Dense(width, activation), "ABAB", name="stack")
    inputs = keras.Input((width,), name="x")
    return randomize(keras.Model(inputs, stack(inputs), name="two_groups"))


def names(report):
    return {op.name for op in report.operators}


def test_cpu_is_rolled_and_of_dynamic_range(tmp_path):
    report = export_tflite(model_of(40), tmp_path / "model.tflite", target="cpu")
    assert report.num_subgraphs == 2
    assert "IF" in names(report)
    kernels = [b for b in report.buffers if b.shape == (40, 40)]
    assert [(b.dtype, b.uses, b.calls) for b in kernels] == [("int8", 1, 2)] * 2
    assert report.metadata["quantization"] == "dynamic"


def test_auto_rolls_where_it_pays(tmp_path):
    small = export_tflite(model_of(40), tmp_path / "small.tflite")
    large = export_tflite(model_of(192), tmp_path / "large.tflite")
    assert (small.num_subgraphs, large.num_subgraphs) == (1, 2)
    assert {b.dtype for b in small.buffers} == {"float32"}


def late(*_, timeout, **__):
    raise RunTimeoutError(f"it was ended after {timeout} seconds")


def test_the_comparison_of_a_rolled_file_has_a_limit(tmp_path, monkeypatch):
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match=r"`timeout` must be a number.*timeout=None"):
        export_tflite(model_of(40), path, timeout=None)
    monkeypatch.setattr(compare, "run_apart", late)
    with pytest.raises(ValueError, match=r"`timeout` seconds.*timeout=60\. Pass"):
        export_tflite(model_of(40), path, target="cpu", timeout=60)
    assert not path.exists()


def test_accelerator_has_no_control_flow(tmp_path):
    path = tmp_path / "model.tflite"
    report = export_tflite(model_of(192), path, target="accelerator")
    assert names(report) == {"FULLY_CONNECTED"}
    assert report.duplicate_bytes == 0


def test_micro_is_of_integers_and_measured(tmp_path):
    path = tmp_path / "model.tflite"
    x = values(16, 40)
    report = export_tflite(model_of(40), path, target="micro", representative_dataset=x)
    assert not report.float_operators
    arena = keras_share.tflite.run_micro(path, x[:1]).arena_bytes
    assert report.metadata["arena_bytes"] == arena
    trained = quantize_model(model_of(40), x, ranges="group")
    again = export_tflite(trained, path, target="micro")
    assert again.metadata["quantization"] == "int8"
    assert again.metadata["quantization_aware"] is True


def test_micro_refuses_what_it_can_not_run(tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match="It lacks GELU"):
        export_tflite(model_of(8, "gelu"), path, target="micro", quantization="float32")
    model = keras.Sequential([keras.Input((8,)), model_of(8), layers.Dense(3)])
    model = quantize_model(model, values(8, 8), skip=["stack"])
    with pytest.raises(ValueError, match="must compute with integers throughout"):
        export_tflite(model, path, target="micro")
    assert not path.exists()


def test_micro_without_its_package(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "tflite_micro" else find(n)
    )
    with pytest.warns(UserWarning, match="pip install tflite-micro"):
        export_tflite(
            model_of(8),
            tmp_path / "model.tflite",
            target="micro",
            quantization="float32",
        )


def test_unknown_target(tmp_path):
    with pytest.raises(ValueError, match=r"one of auto, cpu.*Received: target='gpu'"):
        export_tflite(model_of(8), tmp_path / "model.tflite", target="gpu")


def test_the_file_says_what_it_is(tmp_path):
    path = tmp_path / "model.tflite"
    more = {"version": "2.1", "labels": ["yes", "no"]}
    export_tflite(model_of(8), path, metadata=more)
    assert audit(path).metadata == {
        "name": "two_groups",
        "keras_share": keras_share.__version__,
        "quantization": "float32",
        "quantization_aware": False,
        "target": "auto",
        "patterns": {"stack": "ABAB"},
        **more,
    }


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"x": np.ones(2)}, "a dictionary of what JSON can hold"),
        ({"x": float("nan")}, "a dictionary of what JSON can hold"),
        (["a"], r"it is no mapping.*Received: metadata=\['a'\]"),
        ({"target": "x"}, r"can't say what the export itself does.*Received: target"),
    ],
)
def test_bad_metadata(metadata, message, tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match=message):
        export_tflite(model_of(8), path, metadata=metadata)
    assert not path.exists()


@pytest.mark.parametrize("quantization", ["float32", "dynamic"])
def test_dynamic_batch(quantization, tmp_path):
    path, model = tmp_path / "model.tflite", model_of(40)
    export_tflite(model, path, dynamic_batch=True, quantization=quantization)
    x = values(7, 40)
    expected = np.asarray(model(x))
    actual = keras_share.predict_tflite(path, x)  # all at once
    assert np.abs(actual - expected).max() < 0.1 * np.abs(expected).max()
