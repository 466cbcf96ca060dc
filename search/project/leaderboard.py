"""The records of a search as one table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from keras_share.search.project.record import TrialRecord

_OWN = ("pattern", "num_groups", "parameters", "seconds", "status", "trial_id")


def leaderboard(
    records: Sequence[TrialRecord], objective: str, direction: str
) -> pd.DataFrame:
    """Trials, best first; `SearchResults.leaderboard` has the columns."""
    scored = [(one.score, one) for one in records if one.score is not None]
    scored.sort(key=lambda pair: pair[0], reverse=direction == "max")
    ranked = [one for _, one in scored]
    ranked += [one for one in records if one.score is None]
    columns = [
        *("pattern", "num_groups", "parameters", objective),
        *("exported_bytes", *_names(record.measures for record in ranked)),
        *("seconds", "status"),
        *("trial_id", *_names(record.metrics for record in ranked)),
        *(f"hp/{name}" for name in _names(r.hyperparameters for r in ranked)),
        "message",
    ]
    cells = [
        {
            **{f"hp/{name}": value for name, value in record.hyperparameters.items()},
            **record.numbers,
            **{name: getattr(record, name) for name in _OWN},
            objective: record.score,
            "message": record.reason,
        }
        for record in ranked
    ]
    # By name: the objective is also a metric, and `exported_bytes` a measure.
    return pd.DataFrame(
        {name: _column([row.get(name) for row in cells]) for name in columns}
    )


def averaged(
    board: pd.DataFrame,
    records: Iterable[TrialRecord],
    objective: str,
    direction: str,
) -> pd.DataFrame:
    """One row for all completed trials of equal patterns and values, best first.

    Each number is the mean over them; everything else is of the first of them in the
    board. `trials` says how many they are.
    """
    chosen = {
        one.trial_id: f"{one.pattern} {sorted(one.values.items())}"
        for one in records
        if one.is_completed
    }
    board = board[board["trial_id"].isin(chosen.keys())]
    choice = board["trial_id"].map(chosen)
    alike = board.groupby(choice.to_numpy(), sort=False)
    found = board[~choice.duplicated()].reset_index(drop=True)
    for name in found:
        is_number = pd.api.types.is_numeric_dtype(found[name])
        if is_number and not name.startswith("hp/"):
            means = alike[name].mean().array
            is_whole = found[name].dtype == "Int64" and (means % 1 == 0).all()
            found[name] = means.astype("Int64") if is_whole else means
    place = found.columns.get_loc("status") + 1
    found.insert(place, "trials", alike.size().to_numpy())
    is_rising = direction == "min"
    return found.sort_values(objective, ascending=is_rising, ignore_index=True)


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """The keys of all mappings, each once, in order of appearance."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _column(values: list) -> pd.Series:
    """A column in which counts stay integers where failed trials leave gaps.

    The number of a pattern of many sites may need more than 64 bits: it is an object.
    """
    present = [value for value in values if value is not None]
    whole = present and all(type(v) is int and abs(v) < 2**63 for v in present)
    return pd.Series(values, dtype="Int64" if whole else None)
