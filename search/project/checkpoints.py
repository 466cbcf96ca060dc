"""The weights that trials leave on disk, of which only the best are kept.

A checkpoint holds the optimizer too, three times the size of the weights with Adam.
"""

import os
from collections.abc import Sequence, Set
from pathlib import Path

import keras_tuner as kt
import numpy as np

from keras_share.search import pareto
from keras_share.search.engine import TrialStatus
from keras_share.search.project import record_files
from keras_share.search.trial.objectives import signs


def of(project_dir: str | os.PathLike, trial_id: str) -> list[Path]:
    """The files with the weights of a trial, none if they were removed."""
    return sorted(Path(project_dir, f"trial_{trial_id}").glob("checkpoint*"))


def front(
    project_dir: str | os.PathLike, objectives: Sequence[kt.Objective], most: int
) -> set[str]:
    """Ids of at most `most` trials of the Pareto front: its ends, then the lonely.

    None with one objective, whose front is the best trial.
    """
    if len(objectives) == 1:
        return set()
    names, ids, rows = [one.name for one in objectives], [], []
    for record in record_files.read(project_dir):
        if record.is_completed and record.numbers.keys() >= {*names}:
            ids.append(record.trial_id)
            rows.append([record.numbers[name] for name in names])
    points = np.reshape(rows, (-1, len(names))) * signs(objectives)
    found = np.flatnonzero(pareto.non_dominated(points))
    order = np.argsort(-pareto.crowding(points[found]), kind="stable")
    return {ids[i] for i in found[order][:most]}


def remove(project_dir: str | os.PathLike, kept: Set[str]) -> None:
    """Removes the weights of all trials that have ended, but those of `kept`.

    Trials that Hyperband started stay, as it may continue them.

    Args:
        project_dir: The folder of the project.
        kept: Ids of the trials whose weights stay.
    """
    for path in Path(project_dir).glob("trial_*/checkpoint*"):
        trial_id = path.parent.name.removeprefix("trial_")
        record = record_files.read_one(project_dir, trial_id)
        if trial_id in kept or record is None or record.status == TrialStatus.INVALID:
            continue  # without a record it runs, and invalid it will be tried again
        if "tuner/epochs" not in record.hyperparameters:
            path.unlink(missing_ok=True)
