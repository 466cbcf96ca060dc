"""The table of sharing modes goes on where it was, and says what it measured."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "albert_modes.py"


@pytest.fixture(scope="module")
def table():
    spec = importlib.util.spec_from_file_location("albert_modes", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def measured(table, monkeypatch):
    """The runs in their order; the third is killed."""
    runs = []

    def measure(settings, folder):
        runs.append((settings.mode, settings.seed, folder.name))
        if len(runs) == 3:
            raise KeyboardInterrupt
        loss = {"dense": 5.0, "cycle:3": 5.5}[settings.mode] + settings.seed / 10
        return {
            "parameters": 1000,
            "stack_parameters": 100,
            "dynamic_bytes": 2000,
            "words_loss": loss,
            "words_accuracy": 0.1,
            "order_accuracy": 0.5,
            "seconds": 1.0,
        }

    monkeypatch.setattr(table, "measure", measure)
    return runs


def test_goes_on_where_it_was(table, measured, tmp_path):
    modes = ["dense", "cycle:3"]
    with pytest.raises(KeyboardInterrupt):
        table.run_all(table.SETTINGS, modes, 2, tmp_path)
    assert len(pd.read_csv(tmp_path / "runs.csv")) == 2
    runs = table.run_all(table.SETTINGS, modes, 2, tmp_path)
    assert measured == [
        ("dense", 0, "dense_0"),
        ("cycle:3", 0, "cycle_3_0"),
        ("dense", 1, "dense_1"),
        ("dense", 1, "dense_1"),
        ("cycle:3", 1, "cycle_3_1"),
    ]
    assert len(runs) == 4 and len(pd.read_csv(tmp_path / "runs.csv")) == 4

    summary = table.summarize(runs).set_index("mode")
    assert summary.index.tolist() == modes
    assert summary.words_loss.round(6).tolist() == [5.05, 5.55]
    assert summary.over_dense.round(6).tolist() == [0, 0.5]
    assert summary.spread.round(6).tolist() == [0.1, 0.1]
    table.show(summary.reset_index())


def test_refuses_to_mix_settings(table, measured, tmp_path):
    table.run_all(table.SETTINGS, ["dense"], 1, tmp_path)
    other = table.replace(table.SETTINGS, steps=7)
    with pytest.raises(ValueError, match=r"differ: steps \(800, now 7\)"):
        table.run_all(other, ["dense"], 2, tmp_path)
