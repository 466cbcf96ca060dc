"""The record of a search on disk: one JSON file per trial."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras_tuner as kt

from keras_share.atomic import write_atomically
from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.trial.outcomes import PLANNED, is_mark, outcome_of

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


def read_one(project_dir: str | os.PathLike, trial_id: str) -> Row | None:
    """Reads the row of one trial, None before the trial has ended."""
    try:
        text = (folder(project_dir) / f"{trial_id}.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return json.loads(text)


def objectives_of(oracle: kt.Oracle) -> list[kt.Objective]:
    """All objectives of an oracle, also of one that shows KerasTuner only the first."""
    for holder in (oracle, oracle.objective):
        if hasattr(holder, "objectives"):
            return list(holder.objectives)
    return [oracle.objective]


def from_trial(
    trial: Trial,
    objective: kt.Objective,
    objectives: Sequence[kt.Objective],
    *,
    patterns: Mapping[str, SharingPattern],
    parameters: int | None,
    measures: Mapping[str, float],
    started: float,
    ended: float,
    worker: str | None,
    message: str | None,
) -> Row:
    """The row of a trial that has ended.

    Args:
        trial: The trial as the oracle has it, with its status, score and metrics.
        objective: The objective that scores a trial.
        objectives: All objectives of the search.
        patterns: Its patterns by the name of their hyperparameter.
        parameters: Number of weights of its model, None if that is unknown.
        measures: What was measured of its model, by name.
        started: When it began, in seconds since 1970.
        ended: When it ended, in seconds since 1970.
        worker: Name of the process that ran it.
        message: Why it has no score; the traceback of a failure.
    """
    status = outcome_of(trial)
    scored = status == TrialStatus.COMPLETED and trial.score is not None
    if message is None and status in (TrialStatus.FAILED, TrialStatus.INVALID):
        message = f"{objective.name} is NaN"
    aside = {"parameters", PLANNED, *measures}
    return {
        "trial_id": trial.trial_id,
        "status": status,
        "pattern": format_patterns(patterns),
        "patterns": {name: str(pattern) for name, pattern in patterns.items()},
        "num_groups": sum(p.num_groups for p in patterns.values()) or None,
        "parameters": parameters,
        "objective": objective.name,
        "direction": objective.direction,
        "objectives": [
            {"name": one.name, "direction": one.direction} for one in objectives
        ],
        "score": float(trial.score) if scored else None,
        "metrics": {
            name: {
                "value": float(history.get_best_value()),
                "direction": history.direction,
            }
            for name, history in trial.metrics.metrics.items()
            if status not in (TrialStatus.FAILED, TrialStatus.INVALID)
            and name not in aside
            and not is_mark(name)
        },
        "measures": dict(measures),
        "started": started,
        "ended": ended,
        "seconds": ended - started,
        "worker": worker,
        "hyperparameters": {
            name: value
            for name, value in trial.hyperparameters.values.items()
            if not name.endswith(".patterns")  # the same in every trial
        },
        "message": message,
    }


def format_patterns(patterns: Mapping[str, SharingPattern]) -> str:
    """`ABAB`, or `attention=AABB ffn=AAAA` of patterns that have names.

    A single one of another name than `sharing_pattern` gives it has its name too, so
    that a later search knows which hyperparameter it was.
    """
    if list(patterns) == ["sharing"]:
        return str(patterns["sharing"])
    return " ".join(f"{name}={pattern}" for name, pattern in patterns.items())
