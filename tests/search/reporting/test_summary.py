"""What a search found, in a few words."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import synthetic_search as synthetic

from keras_share.search import SearchResults
from keras_share.search.reporting.summary import number, summary


@pytest.mark.parametrize(
    "value, text",
    [
        *((7, "7"), (12345.0, "12,345"), (1 / 3, "0.3333"), (1e-5, "1e-05")),
        *((12345.6, "1.235e+04"), (math.nan, "nan"), (-math.inf, "-inf"), (0.0, "0")),
        *((None, "-"), (pd.NA, "-"), (True, "True"), ("<b>", "<b>"), ([1], "[1]")),
        (10**30, f"{10**30:,}"),
    ],
)
def test_number(value, text):
    assert number(value) == text


def test_summary():
    results = synthetic.with_failures(
        synthetic.search(trials=20), "FAILED", "REJECTED", "PRUNED", "PRUNED"
    )
    found = summary(results)
    assert found["trials"] == "20 done, 2 stopped early, 1 failed, 1 rejected"
    best = max(results.records[:20], key=lambda row: row.score)
    assert found["best val_accuracy"].endswith(f"(trial {best.trial_id})")
    assert results.knee()["trial_id"] in found["knee of the front"]
    assert found["hypervolume"].startswith("0.")
    # Trials start every 20 seconds and take 15.
    assert found["time"].endswith("8 min from the first start to the last end")


def test_records_that_do_not_say_when_they_ran():
    record = replace(synthetic.unscored(0), started=None, ended=None)
    found = summary(SearchResults((record,), synthetic.ONE))
    assert list(found) == ["trials", "time"]
    assert found["time"] == "14 s of trials"
