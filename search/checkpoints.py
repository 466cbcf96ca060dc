"""The weights that trials leave on disk, of which only the best are kept.

A checkpoint holds the optimizer too, three times the size of the weights with Adam.
"""

import os
from collections.abc import Set
from pathlib import Path

from keras_tuner.engine.trial import TrialStatus

from . import rows


def of(project_dir: str | os.PathLike, trial_id: str) -> list[Path]:
    """The files with the weights of a trial, none if they were removed."""
    return sorted(Path(project_dir, f"trial_{trial_id}").glob("checkpoint*"))


def remove(project_dir: str | os.PathLike, kept: Set[str]) -> None:
    """Removes the weights of all trials that have ended, but those of `kept`.

    Trials that Hyperband started stay, as it may continue them.

    Args:
        project_dir: The folder of the project.
        kept: Ids of the trials whose weights stay.
    """
    for path in Path(project_dir).glob("trial_*/checkpoint*"):
        trial_id = path.parent.name.removeprefix("trial_")
        row = rows.read_one(project_dir, trial_id)
        if trial_id in kept or row is None or row["status"] == TrialStatus.INVALID:
            continue  # without a row it runs, and invalid it will be tried again
        if "tuner/epochs" not in row["hyperparameters"]:
            path.unlink(missing_ok=True)
