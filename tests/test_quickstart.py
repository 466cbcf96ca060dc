"""The quickstart does the whole job; here with two short trials of a small network."""

import importlib.util
from pathlib import Path

import keras
import pandas as pd
import pytest

from keras_share import SharingPattern, audit
from keras_share.search import SearchResults
from keras_share.search.project.record import TrialRecord

FILE = Path(__file__).parents[1] / "examples" / "quickstart.py"


@pytest.fixture(scope="module")
def quickstart():
    spec = importlib.util.spec_from_file_location("quickstart", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    load_data = module.load_data

    def few_digits(seed):
        return [module.Split(part.x[:64], part.y[:64]) for part in load_data(seed)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NUM_SITES", 3)
        patch.setattr(module, "FILTERS", 16)
        patch.setattr(module, "load_data", few_digits)
        yield module


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
        "report.html",
        "results.csv",
        "unshared_dynamic.tflite",
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
    pattern = SharingPattern.get(table.index[3].removesuffix(", int8"))
    uses = sorted(len(group) for group in pattern.groups)
    assert sorted(b.uses for b in kernels) == uses
    assert table.test_accuracy.between(0, 1).all()


def test_goes_on_where_it_was(folder, quickstart, monkeypatch):
    """A second run trains no trial again."""
    train, val, _ = quickstart.load_data(0)
    monkeypatch.setattr(keras.Model, "fit", None)
    results = quickstart.search(train, val, trials=2, epochs=1, seed=0, folder=folder)
    assert len(results) == 2


def test_picks_the_best_within_the_budget(quickstart):
    objectives = {"val_accuracy": "max"}
    rows = [("AAA", 0.5, 10), ("AAB", 0.8, 20), ("ABB", 0.7, 20), ("ABC", 0.9, 30)]
    records = tuple(
        TrialRecord(
            trial_id=str(number),
            status="COMPLETED",
            objectives=objectives,
            patterns={"sharing": SharingPattern(pattern)},
            score=accuracy,
            metrics={"val_accuracy": accuracy},
            measures={"exported_bytes": size},
        )
        for number, (pattern, accuracy, size) in enumerate(rows)
    )
    results = SearchResults(records, objectives)
    picked = [str(quickstart.pick(results, limit)) for limit in (5, 10, 25, 99)]
    assert picked == ["AAA", "AAA", "AAB", "ABC"]
