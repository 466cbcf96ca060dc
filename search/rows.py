"""The record of a search on disk: one JSON file per trial."""

import json
import os
from pathlib import Path
from typing import Any

from keras_share.files import write_atomically

Row = dict[str, Any]


def folder(project_dir: str | os.PathLike) -> Path:
    """Where the rows of a project lie."""
    return Path(project_dir) / "results"


def write(project_dir: str | os.PathLike, row: Row) -> None:
    """Writes the row of one trial, in place of an earlier one of the same trial."""
    path = folder(project_dir) / f"{row['trial_id']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(row, indent=2) + "\n").encode())


def read(project_dir: str | os.PathLike) -> tuple[Row, ...]:
    """Reads the rows of a project in the order of its trials."""
    # Short names first: KerasTuner pads numbers to the width of `max_trials`, which
    # may have been raised between two runs.
    paths = sorted(
        folder(project_dir).glob("*.json"), key=lambda p: (len(p.name), p.name)
    )
    return tuple(json.loads(path.read_text(encoding="utf-8")) for path in paths)
