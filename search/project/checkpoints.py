"""The weights that trials leave on disk, of which only the best are kept.

A checkpoint holds the optimizer too, three times the size of the weights with Adam.
"""

import os
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

import numpy as np

from keras_share.search import pareto
from keras_share.search.project.record import TrialRecord
from keras_share.search.trial.objectives import signs


def of(project_dir: str | os.PathLike, trial_id: str) -> list[Path]:
    """The files with the weights of a trial, none if they were removed."""
    return sorted(Path(project_dir, f"trial_{trial_id}").glob("checkpoint*"))


def best(
    records: Iterable[TrialRecord], objectives: Mapping[str, str], most: int
) -> set[str]:
    """Ids of the trials of the best scores, `most` of them.

    With several objectives as many of the front stay, too: its ends, then the lonely.
    """
    names = objectives.keys()
    scored = [r for r in records if r.is_completed and r.numbers.keys() >= names]
    if not scored:
        return set()
    points = np.array([[one.numbers[name] for name in names] for one in scored])
    points = points * signs(objectives)
    kept = [*np.argsort(points[:, 0], kind="stable")[:most]]
    if len(names) > 1:
        front = np.flatnonzero(pareto.non_dominated(points))
        order = np.argsort(-pareto.crowding(points[front]), kind="stable")
        kept += [*front[order][:most]]
    return {scored[i].trial_id for i in kept}


def remove(project_dir: str | os.PathLike, ended: Set[str], kept: Set[str]) -> None:
    """Removes the weights of all trials that have ended, but those of `kept`."""
    for path in Path(project_dir).glob("trial_*/checkpoint*"):
        trial_id = path.parent.name.removeprefix("trial_")
        if trial_id in ended and trial_id not in kept:
            path.unlink(missing_ok=True)
