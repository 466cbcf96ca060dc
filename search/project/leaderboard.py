"""The records of a search as one table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from keras_share.search.project.record import TrialRecord


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
        *(("trials",) if any(record.trials for record in records) else ()),
        *("trial_id", *_names(record.metrics for record in ranked)),
        *(f"hp/{name}" for name in _names(r.hyperparameters for r in ranked)),
        "message",
    ]
    cells = [_cells(record, objective) for record in ranked]
    # By name: the objective is also a metric, and `exported_bytes` a measure.
    return pd.DataFrame(
        {name: _column([row.get(name) for row in cells]) for name in columns}
    )


def _cells(record: TrialRecord, objective: str) -> dict[str, Any]:
    own = ("pattern", "num_groups", "parameters", "seconds", "status", "trial_id")
    return {
        **{f"hp/{name}": value for name, value in record.hyperparameters.items()},
        **record.numbers,
        **{name: getattr(record, name) for name in (*own, "trials")},
        objective: record.score,
        "message": record.reason,
    }


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
