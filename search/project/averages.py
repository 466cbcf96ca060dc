"""Trials that train the same choice again, to see through the noise, as one."""

import json
from collections.abc import Iterable
from statistics import fmean

from keras_share.search.project.choices import chosen_values
from keras_share.search.project.rows import Row


def averaged(rows: Iterable[Row]) -> list[Row]:
    """One row for all completed trials that chose equal patterns and hyperparameters.

    Each number is the mean over them; everything else, like `trial_id`, is of the one
    with the best score. The new entry `trials` says how many they are.

    Args:
        rows: Rows of one search; what has no score is left out.

    Returns:
        Rows in order of the first of each choice.
    """
    choices: dict[str, list[Row]] = {}
    for row in rows:
        if is_completed(row):
            chosen = row["pattern"], chosen_values(row)
            choices.setdefault(json.dumps(chosen, sort_keys=True), []).append(row)
    return [_merged(repeats) for repeats in choices.values()]


def is_completed(row: Row) -> bool:
    """Whether a trial was trained to its end and has a score."""
    return row["status"] == "COMPLETED" and row["score"] is not None


def _merged(rows: list[Row]) -> Row:
    pick = max if rows[0]["direction"] == "max" else min
    best = pick(rows, key=lambda row: row["score"])
    return {
        **best,
        "trials": len(rows),
        "score": _mean([row["score"] for row in rows]),
        "seconds": _mean([row["seconds"] for row in rows]),
        "metrics": {
            name: {
                **metric,
                "value": _mean(
                    [r["metrics"][name]["value"] for r in rows if name in r["metrics"]]
                ),
            }
            for name, metric in best["metrics"].items()
        },
        "measures": {
            name: _mean([r["measures"][name] for r in rows if name in r["measures"]])
            for name in best["measures"]
        },
    }


def _mean(values: list[float]) -> float:
    """The mean; the same integer as before where all are equal, as sizes are."""
    return values[0] if len(set(values)) == 1 else fmean(values)
