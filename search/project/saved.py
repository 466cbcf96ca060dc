"""The files of a project, read so that none of their states is fatal.

KerasTuner writes `oracle.json` and one `trial.json` per trial, one after the other. A
process that dies in between leaves them in disagreement, and one that writes in place,
as KerasTuner does, leaves half a file.
"""

import contextlib
import copy
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras_tuner as kt

from keras_share.atomic import write_atomically
from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.project import record_files
from keras_share.search.project.record import TrialRecord
from keras_share.search.trial.outcomes import PRUNED, REJECTED, mark

State = dict[str, Any]

FINISHED = (TrialStatus.COMPLETED, TrialStatus.FAILED)

_NOTES = "keras_share"


@dataclass
class SavedProject:
    """What the files of a project say.

    Args:
        state: The state of the oracle, consistent with `trials`; None if lost.
        trials: The trials in the order of their numbers.
        notes: What `write_trial` was told of each trial beside KerasTuner's state.
        adopted: Ids of finished trials that the oracle had not been saved with.
        interrupted: Ids of trials that were running when their process ended.
        forgotten: Ids of trials to be made anew, as they never began to run.
    """

    state: State | None
    trials: dict[str, Trial]
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    adopted: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)


def exists(project_dir: str | os.PathLike) -> bool:
    """Whether a search has left something in a folder."""
    project = Path(project_dir)
    return project.joinpath("oracle.json").exists() or bool(_trial_files(project))


def prepare(project_dir: str | os.PathLike, tuner_id: str) -> None:
    """Makes the folder of a project, and KerasTuner resume what it finds there.

    KerasTuner resumes if the tuner has a file of its own, which is empty and may be
    missing; it would start over silently then, among the files of the earlier trials.

    Raises:
        OSError: If the folder can't be made.
    """
    project = Path(project_dir)
    try:
        project.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno,
            "`directory` and `project_name` must name a folder that exists or can be "
            f"made ({error.strerror}). Received: {str(project)!r}. Choose another.",
        ) from error
    path = project / f"{tuner_id}.json"
    if exists(project) and read_json(path) is None:
        write_atomically(path, b"{}")


def read_json(path: Path) -> dict[str, Any] | None:
    """The dictionary in a file, None where it is missing or damaged.

    Raises:
        ValueError: If the file is there and can't be read at all.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:  # of JSON or of UTF-8
        return None
    except OSError as error:
        raise ValueError(
            f"The file of a search must be readable ({error.strerror}). Received: "
            f"{str(path)!r}. Mend its permissions or restore it; or remove it, and "
            "the search goes on with what the other files say."
        ) from error
    return content if isinstance(content, dict) else None


def write_trial(project_dir: str, trial: Trial, notes: Mapping[str, Any]) -> None:
    """Writes the `trial.json` of a trial, with notes KerasTuner does not read."""
    path = _trial_dir(Path(project_dir), trial.trial_id) / "trial.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {**trial.get_state(), _NOTES: dict(notes)}
    write_atomically(path, json.dumps(state).encode())


def remove_leftovers(project_dir: str | os.PathLike) -> None:
    """Removes temporary files that a process left when it died.

    Only old ones: other processes may be writing theirs.
    """
    for path in Path(project_dir).rglob(".*.tmp"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - 3600:
                path.unlink()


def read(project_dir: str | os.PathLike, space: kt.HyperParameters) -> SavedProject:
    """Reads the trials and the state of the oracle of a project.

    KerasTuner saves a new trial before the oracle, and an ended one too. So a trial
    that the oracle does not know and that has no result has not begun, and a trial
    with a result has ended whatever the oracle says.

    Args:
        project_dir: The folder of the project.
        space: The search space, in case the saved one is lost.
    """
    folder = Path(project_dir)
    state = read_json(folder / "oracle.json")
    if state is not None:
        # KerasTuner changes the dictionary that it reads.
        config = copy.deepcopy(state["hyperparameters"])
        space = kt.HyperParameters.from_config(config)
    known = state["start_order"] if state else []
    found = _read_trials(folder, space, known)
    forgotten = []
    while found:
        trial_id, (trial, _) = found[-1]
        begun = state is None or trial_id in known
        if trial is not None and (begun or trial.status in FINISHED):
            break
        forgotten.append(trial_id)
        found.pop()

    project = SavedProject(state=None, trials={}, forgotten=forgotten)
    for trial_id, (trial, notes) in found:
        project.trials[trial_id] = trial or _lost(trial_id, space)
        project.notes[trial_id] = notes
    _reconcile(project, state)
    return project


def _reconcile(project: SavedProject, state: State | None) -> None:
    """Brings the state of the oracle in line with the trials."""
    trials = project.trials
    ended = state["end_order"] if state else []
    waiting = state["retry_queue"] if state else []
    finished = [i for i, trial in trials.items() if trial.status in FINISHED]
    unfinished = [i for i, trial in trials.items() if trial.status not in FINISHED]
    project.adopted = [i for i in finished if i not in ended]
    project.interrupted = [
        i
        for i in unfinished
        if i not in waiting and trials[i].status == TrialStatus.RUNNING
    ]
    if state is not None:
        started = [i for i in state["start_order"] if i in trials]
        project.state = {
            **state,
            "start_order": started + [i for i in trials if i not in started],
            "end_order": [i for i in ended if i in finished] + project.adopted,
            "retry_queue": unfinished[::-1],  # KerasTuner takes the last one first
            "ongoing_trials": {},
        }


def _read_trials(
    project: Path, space: kt.HyperParameters, known: list[str]
) -> list[tuple[str, tuple[Trial | None, dict[str, Any]]]]:
    """For each number up to the last: its id, trial (None if lost), and notes."""
    recorded = {record.trial_id: record for record in record_files.read(project)}
    folders = [
        path.parent.name.removeprefix("trial_") for path in _trial_files(project)
    ]
    # KerasTuner numbers its trials by their count, so that a gap would make it give
    # a number twice.
    ids = {int(i): i for i in (*recorded, *known, *folders) if i.isdigit()}
    found = []
    for number in range(max(ids, default=-1) + 1):
        trial_id = ids.get(number, str(number))
        state = read_json(_trial_dir(project, trial_id) / "trial.json") or {}
        try:
            trial = Trial.from_state(state)
        except (KeyError, TypeError):
            record = recorded.get(trial_id)
            trial = record and _from_record(record, space)
        found.append((trial_id, (trial, state.get(_NOTES, {}))))
    return found


def _from_record(record: TrialRecord, space: kt.HyperParameters) -> Trial | None:
    """A trial whose own file is lost, None if its record is not that of its end."""
    if record.status not in (*FINISHED, PRUNED, REJECTED):
        return None
    trial = Trial(space.copy(), record.trial_id)
    trial.hyperparameters.values = dict(record.hyperparameters)
    trial.hyperparameters.ensure_active_values()
    completed = record.status == TrialStatus.COMPLETED
    trial.status = TrialStatus.COMPLETED if completed else TrialStatus.FAILED
    trial.score, trial.message = record.score, record.message
    for name, metric in record.metrics.items():
        trial.metrics.register(name, metric.direction)
    further = {} if record.status in FINISHED else mark(record.status)
    for name, value in {**record.numbers, **further}.items():
        trial.metrics.update(name, value)
    return trial


def _lost(trial_id: str, space: kt.HyperParameters) -> Trial:
    """Stands for a trial of which nothing is left, so that its number stays taken."""
    trial = Trial(space.copy(), trial_id, TrialStatus.FAILED)
    trial.message = f"trial_{trial_id}/trial.json was damaged or missing"
    return trial


def _trial_dir(project: Path, trial_id: str) -> Path:
    return project / f"trial_{trial_id}"


def _trial_files(project: Path) -> list[Path]:
    return [
        path
        for path in project.glob("trial_*/trial.json")
        if re.fullmatch(r"trial_\d+", path.parent.name)
    ]
