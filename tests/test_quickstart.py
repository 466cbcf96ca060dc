"""The quickstart does the whole job; here with two short trials."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

from keras_share import audit

FILE = Path(__file__).parents[1] / "examples" / "quickstart.py"


@pytest.fixture(scope="module")
def quickstart():
    spec = importlib.util.spec_from_file_location("quickstart", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(quickstart, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    quickstart.run(folder, trials=2, search_epochs=1, epochs=3)
    return folder


def test_everything_lands_in_the_folder(folder):
    names = {path.name for path in folder.iterdir() if path.is_file()}
    assert names == {
        "leaderboard.csv",
        "model.tflite",
        "pareto.png",
        "results.csv",
        "unshared_float.tflite",
        "unshared_int8.tflite",
        "winner.keras",
        "winner_float.tflite",
    }
    board = pd.read_csv(folder / "leaderboard.csv")
    assert len(board) == 2 and board.pattern.is_unique
    assert {"num_groups", "parameters", "val_accuracy", "exported_bytes", "seconds"} < (
        set(board.columns)
    )


def test_the_file_keeps_its_promises(folder, quickstart):
    table = pd.read_csv(folder / "results.csv").set_index("model")
    winner = audit(folder / "model.tflite")
    assert winner.duplicate_bytes == 0 and not winner.float_operators
    kernels = [b for b in winner.buffers if b.nbytes == 9 * quickstart.FILTERS**2]
    assert len(kernels) <= quickstart.MAX_GROUPS
    assert sum(b.uses for b in kernels) == quickstart.NUM_SITES
    assert table.file_bytes.iloc[3] <= table.file_bytes.iloc[2] / 2
    assert table.test_accuracy.between(0, 1).all()


def test_goes_on_where_it_was(folder, quickstart, monkeypatch):
    """A second run trains no trial again."""
    train, val, _ = quickstart.load_data(0)
    monkeypatch.setattr(quickstart, "build_model", None)
    results = quickstart.search(train, val, trials=2, epochs=1, seed=0, folder=folder)
    assert len(results) == 2
