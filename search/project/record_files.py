"""The records of a project on disk: one JSON file for each trial that has ended."""

import json
import os
import warnings
from pathlib import Path

from keras_share.atomic import write_atomically
from keras_share.search.project.record import TrialRecord


def folder(project_dir: str | os.PathLike) -> Path:
    """Where the records of a project lie."""
    return Path(project_dir) / "results"


def write(project_dir: str | os.PathLike, record: TrialRecord) -> None:
    """Writes the record of a trial, in place of an earlier one of the same trial."""
    path = folder(project_dir) / f"{record.trial_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(record.to_dict(), indent=2) + "\n").encode())


def read(project_dir: str | os.PathLike) -> tuple[TrialRecord, ...]:
    """Reads the records of a project in the order of its trials.

    A file that holds no record is left out, with a warning that names it.
    """
    found = []
    for path in _files(project_dir):
        try:
            found.append(_read_file(path))
        except ValueError as error:
            warnings.warn(
                f"{str(path)!r} is damaged and left out ({error}). A search that goes "
                "on sets it aside.",
                stacklevel=2,
            )
    return tuple(found)


def read_one(project_dir: str | os.PathLike, trial_id: str) -> TrialRecord | None:
    """Reads the record of one trial, None before the trial has ended."""
    try:
        return _read_file(folder(project_dir) / f"{trial_id}.json")
    except (FileNotFoundError, ValueError):
        return None


def set_damaged_aside(project_dir: str | os.PathLike) -> None:
    """Renames what holds no record, so that the file of its trial can be written."""
    for path in _files(project_dir):
        try:
            _read_file(path)
        except ValueError:
            path.replace(path.with_suffix(".damaged"))


def _files(project_dir: str | os.PathLike) -> list[Path]:
    # Short names first: KerasTuner pads numbers to the width of `max_trials`, which
    # may have been raised between two runs.
    paths = folder(project_dir).glob("*.json")
    return sorted(paths, key=lambda path: (len(path.name), path.name))


def _read_file(path: Path) -> TrialRecord:
    return TrialRecord.from_dict(json.loads(path.read_text(encoding="utf-8")))
