"""The rows of a search as one table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from keras_share.search.project.rows import Row


def leaderboard(rows: Sequence[Row], objective: str, direction: str) -> pd.DataFrame:
    """Trials, best first; `SearchResults.leaderboard` has the columns."""
    ranked = _ranked(rows, direction)
    columns = [
        *("pattern", "num_groups", "parameters", objective),
        *("exported_bytes", *_names(row["measures"] for row in ranked)),
        *("seconds", "status"),
        *(("trials",) if any("trials" in row for row in rows) else ()),
        *("trial_id", *_names(row["metrics"] for row in ranked)),
        *(f"hp/{name}" for name in _names(r["hyperparameters"] for r in ranked)),
        "message",
    ]
    cells = [_cells(row, objective) for row in ranked]
    # By name: the objective is also a metric, and `exported_bytes` a measure.
    return pd.DataFrame(
        {name: _column([row.get(name) for row in cells]) for name in columns}
    )


def _ranked(rows: Sequence[Row], direction: str) -> list[Row]:
    scored = [row for row in rows if row["score"] is not None]
    scored.sort(key=lambda row: row["score"], reverse=direction == "max")
    return scored + [row for row in rows if row["score"] is None]


def _cells(row: Row, objective: str) -> dict[str, Any]:
    message = row["message"]
    return {
        **{name: metric["value"] for name, metric in row["metrics"].items()},
        **{f"hp/{name}": v for name, v in row["hyperparameters"].items()},
        **row["measures"],
        **{name: row[name] for name in ("pattern", "num_groups", "parameters")},
        **{name: row[name] for name in ("seconds", "status", "trial_id")},
        "trials": row.get("trials"),
        objective: row["score"],
        # The row has the whole traceback; its last line names the error.
        "message": message and message.strip().splitlines()[-1],
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
