"""What each hyperparameter matters, on searches with known effects."""

from dataclasses import replace

import numpy as np
import synthetic_search as synthetic

from keras_share import SharingPattern
from keras_share.search import SearchResults
from keras_share.search.reporting.importance import importance


def test_importance():
    table = importance(synthetic.search(names=("attention", "ffn")))
    # What has one value only cannot be told.
    assert set(table["name"]) == {"attention", "ffn", "units", "learning_rate"}
    assert table["importance"].is_monotonic_decreasing
    found = table.set_index("name")["importance"]
    assert found["learning_rate"] < 0.05
    assert found[["attention", "ffn", "units"]].min() > 0.1
    assert table.attrs["explained"] > 0.5


def test_values_of_all_kinds():
    rng = np.random.default_rng(0)
    rows = []
    for i, row in enumerate(synthetic.search(trials=40).records):
        values = {
            "optimizer": str(rng.choice(["adam", "sgd"])),
            "bias": bool(i % 2),
            "rank": int(rng.integers(4)) if i % 3 else None,
            "odd": [1, i % 2],
            "tuner/epochs": i,
            "sharing.2": i,
        }
        score = float(values["optimizer"] == "adam")
        rows.append(replace(row, hyperparameters=values, score=score))
    # A pattern in a scope that is not always active, and of fewer sites.
    rows[3] = replace(rows[3], patterns={})
    rows[4] = replace(rows[4], patterns={"sharing": SharingPattern("AB")})
    table = importance(SearchResults(tuple(rows), synthetic.ONE))
    assert set(table["name"]) == {"sharing", "optimizer", "bias", "rank", "odd"}
    assert table["name"][0] == "optimizer" and table["importance"][0] > 0.5
    assert table["importance"][1:].max() < 0.1


def test_too_few_trials(monkeypatch):
    monkeypatch.setattr("keras_share.search.reporting.importance._SHUFFLES", 1)
    assert importance(synthetic.search(trials=9)) is None
    table = importance(synthetic.search(trials=10))
    again = importance(synthetic.search(trials=10))  # no chance in it
    np.testing.assert_array_equal(again["importance"], table["importance"])


def test_equal_scores():
    rows = [replace(row, score=0.5) for row in synthetic.search().records]
    assert importance(SearchResults(tuple(rows), synthetic.ONE)) is None
