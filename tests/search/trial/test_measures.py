"""What is measured of a trial's file where the system tells little."""

import keras
import pytest

import keras_share
from keras_share.search.trial import measures
from keras_share.tflite.runtimes.benchmark import BenchmarkReport, Measurement


@pytest.fixture
def model(monkeypatch):
    """A model whose file runs where there is no /proc."""
    report = BenchmarkReport((Measurement("model.tflite", "file", 0, median_ms=1.5),))
    monkeypatch.setattr(keras_share, "benchmark", lambda path: report, raising=False)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


def test_latency_needs_no_proc(model):
    found = measures.measure_file(model, {}, {"latency_ms"})
    assert found["latency_ms"] == 1.5 and "memory_bytes" not in found


def test_memory_does(model):
    with pytest.raises(RuntimeError, match="memory_bytes can only be measured where"):
        measures.measure_file(model, {}, {"memory_bytes"})
