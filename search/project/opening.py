"""The folder of a project and its study: made, opened, refused."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import optuna
from optuna.study import StudyDirection

from keras_share.search.project.connection import EXPERIMENTAL, shown
from keras_share.search.trial.objectives import objectives_of

# What a stock tuner or an earlier version leaves in the folder of a project.
OLDER = ("oracle.json", "results")


def name_of(folder: str | os.PathLike) -> str:
    """The name of the study of a project: that of its folder."""
    return Path(folder).resolve().name


def make_folder(
    folder: Path, arguments: str = "`directory` and `project_name`"
) -> None:
    """Makes a folder that arguments name; an OSError says if it can't be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{arguments} must name a folder that exists or can be "
            f"made ({error.strerror}). Received: {str(folder)!r}. Choose another.",
        ) from error


def refuse_older(folder: Path) -> None:
    """Raises ValueError of the folder of a stock tuner, or of an earlier version."""
    found = [p for p in OLDER if folder.joinpath(p).exists()]
    if found:
        raise ValueError(
            "A project must be one of this version of keras_share.search, which keeps "
            f"it in a study of Optuna. Received: {str(folder)!r}, with {found[0]} of a "
            "stock tuner or an earlier version. Choose another `project_name`, or pass "
            "`overwrite=True`, which deletes it."
        )


def make_study(
    folder: Path,
    storage: optuna.storages.BaseStorage,
    objectives: Mapping[str, str],
    pruner: optuna.pruners.BasePruner | None,
) -> optuna.Study:
    """The study of a project, made if there is none.

    It is a ValueError if there is one of other objectives.
    """
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it says what it has made
    study = optuna.create_study(
        study_name=name_of(folder),
        storage=storage,
        sampler=optuna.samplers.RandomSampler(),
        pruner=pruner,
        directions=[StudyDirection[d.upper() + "IMIZE"] for d in objectives.values()],
        load_if_exists=True,
    )
    optuna.logging.set_verbosity(verbosity)
    if study.metric_names is None and not study.get_trials(deepcopy=False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=EXPERIMENTAL)
            study.set_metric_names(list(objectives))
    had = objectives_of(study)
    if had != dict(objectives):
        wanted, known = (
            ", ".join(f"{name} ({direction})" for name, direction in one.items())
            for one in (objectives, had)
        )
        raise ValueError(
            f"A study keeps its objectives. Received: {wanted}, for the study "
            f"{study.study_name!r} of {known}. Choose another `project_name`, and "
            "`earlier=` to learn from this one, or pass `overwrite=True` to delete it."
        )
    return study


def open_study(folder: Path, storage: optuna.storages.BaseStorage) -> optuna.Study:
    """The study of a project; it is a FileNotFoundError if there is none."""
    try:
        return optuna.load_study(study_name=name_of(folder), storage=storage)
    except KeyError:
        raise FileNotFoundError(
            "There must be a study of the name of the project's folder. Received: no "
            f"{name_of(folder)!r} in {shown(storage)}"
        ) from None
