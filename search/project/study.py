"""`Project`: the study of a search, and what its processes do with it.

A trial is written at once with all its values, so that nobody sees half of one, and
its number is the order in which trials began for all processes. Attributes of a trial
whose names begin with an underscore are for the search itself.
"""

import contextlib
import os
import platform
import socket
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from keras_share.atomic import check_writable
from keras_share.search.project.connection import (
    STUDY,
    connect,
    engine_of,
    patiently,
    shown,
    turn,
)
from keras_share.search.project.record import TrialRecord, record_of
from keras_share.search.trial.objectives import objectives_of

BEAT = 10.0  # seconds between two signs of life of a trial
LOST = 120.0  # seconds without one after which it is given to others
_ASKING = 20  # seconds to wait for others on this machine that begin a trial

# What a stock tuner or an earlier version leaves in the folder of a project.
OLDER = ("oracle.json", "results")

_MOST_DEATHS = 2  # of a process known to be gone
_MOST_LOSSES = 5  # of one that was not heard of any more

# Why an attribute is there.
MESSAGE = "message"
WORKER, MEASURES, REJECTED = "worker", "_measures", "_rejected"
_PROCESS, _BEAT, _VOID, _RETRY_OF = "_process", "_beat", "_void", "_retry_of"
_DEATHS, _LOSSES = "_deaths", "_losses"

TakenError = optuna.exceptions.UpdateFinishedTrialError


class Project:
    """The study of a search; made if there is none.

    Attributes:
        objectives: The direction of each objective, by name.

    Args:
        project_dir: The folder of the project.
        storage: See `connection.connect`.
        objectives: The direction of each objective by name; None to open a study that
            must be there.
        pruner: A pruner of Optuna's, for `is_hopeless`.

    Raises:
        ValueError: If the folder holds an older project or the study has other
            objectives.
        FileNotFoundError: If there must be a study and is none.
        ConnectionError: If the storage doesn't answer.
    """

    def __init__(
        self,
        project_dir: str | os.PathLike,
        storage: Any = None,
        objectives: Mapping[str, str] | None = None,
        pruner: optuna.pruners.BasePruner | None = None,
    ):
        self.folder = Path(project_dir)
        self._lock = FileLock(self.folder / "search.lock")
        self._engine = None  # before anybody is known to answer
        name = self.folder.resolve().name
        _refuse_older(self.folder)
        if objectives is None:
            self.storage = connect(self.folder, storage)
            try:
                self.study = patiently(
                    lambda: optuna.load_study(study_name=name, storage=self.storage)
                )
            except KeyError:
                raise FileNotFoundError(
                    "There must be a study of the name of the project's folder. "
                    f"Received: no {name!r} in {shown(storage or STUDY)}"
                ) from None
        else:
            make_folder(self.folder)
            check_writable(self.folder / "search.lock")
            with self.asking():
                self.storage = connect(self.folder, storage)
                self.study = patiently(
                    lambda: _made(name, self.storage, objectives, pruner)
                )
        self._id = patiently(self.storage.get_study_id_from_name, name)
        self.objectives = patiently(objectives_of, self.study)
        self._engine = engine_of(storage)
        self._last: list[FrozenTrial] = []
        self._own = uuid.uuid4().hex
        self._mine: set[int] = set()
        self._ids: dict[int, int] = {}
        self._noted: dict[tuple[int, str], Any] = {}
        self._seen: dict[int, tuple[Any, float]] = {}
        self._records: dict[int, TrialRecord] = {}

    @property
    def notes(self) -> dict[str, Any]:
        """What is noted of the search as a whole."""
        return patiently(lambda: self.study.user_attrs)

    def note(self, name: str, value: Any) -> None:
        """Notes something of the search as a whole."""
        patiently(self.storage.set_study_user_attr, self._id, name, value)

    def trials(self, again: bool = True) -> list[FrozenTrial]:
        """The trials that count, in the order in which they began first.

        Those are left out that were lost, to be run again or run again since, or given
        up since another process was quicker.

        Args:
            again: Whether to read them again, or take what was read last.
        """
        found = self._all() if again else self._last
        lost = {one.number for one in found if _is_lost(one)}
        return sorted(
            (t for t in found if t.number not in lost and _VOID not in t.user_attrs),
            key=_place,
        )

    def records(
        self, trials: Sequence[FrozenTrial] | None = None
    ) -> tuple[TrialRecord, ...]:
        """The records of all trials that have ended.

        Args:
            trials: What `trials` gave, if that is known.
        """
        for trial in self.trials() if trials is None else trials:
            if trial.state.is_finished() and trial.number not in self._records:
                self._records[trial.number] = record_of(trial, self.objectives)
        return tuple(sorted(self._records.values(), key=lambda one: one.place))

    def ended(self) -> set[str]:
        """The ids of all trials that had ended when trials were read last."""
        return {str(one.number) for one in self._last if one.state.is_finished()}

    # How processes share the trials.

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Lets one process at a time choose what to try next.

        All of this machine, and of those that share a server with locks. After a while
        others go on, so that one that was stopped stops nobody: see `begin`.
        """
        held: Any = contextlib.nullcontext()
        with contextlib.suppress(Timeout):
            held = self._lock.acquire(timeout=_ASKING)
        with held, turn(self._engine, self.folder.name, _ASKING):
            yield

    def lost(self) -> FrozenTrial | None:
        """A trial whose process is gone, to be run again; None if there is none."""
        found = self._all()
        running = [one for one in found if one.state == TrialState.RUNNING]
        if any([self._is_ended(one) for one in running]):
            found = self._all()
        again = {one.user_attrs.get(_RETRY_OF) for one in found}
        return next((t for t in found if _is_lost(t) and t.number not in again), None)

    def begin(
        self,
        known: Sequence[FrozenTrial],
        params: Mapping[str, Any],
        distributions: Mapping[str, Any],
        attributes: Mapping[str, Any],
        most: float,
        again: FrozenTrial | None = None,
    ) -> FrozenTrial | None:
        """Begins a trial, unless another process has begun the same just before.

        Args:
            known: The trials that were known when its values were chosen.
            params: Its values.
            distributions: What they were chosen from.
            attributes: Further facts.
            most: At most so many trials may there be.
            again: The lost trial whose values these are, if they are of one.
        """
        attributes = {**attributes, _PROCESS: [*_process(), self._own], _BEAT: 0}
        if again is not None:
            attributes |= {_RETRY_OF: again.number, "_place": _place(again)}
            for name in (_DEATHS, _LOSSES):
                attributes[name] = again.user_attrs.get(name, 0)
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs=attributes,
        )
        try:
            trial_id = patiently(self.storage.create_new_trial, self._id, template)
        except ValueError as error:
            raise ValueError(
                "A study keeps the choices of each hyperparameter. Received: others "
                f"than {self.study.study_name!r} has ({error}). Give the changed "
                "hyperparameter another name, or choose another `project_name`."
            ) from error
        begun = patiently(self.storage.get_trial, trial_id)
        self._ids[begun.number] = trial_id
        known_numbers = {one.number for one in known}
        before = [one for one in self.trials() if one.number < begun.number]
        new = [one for one in before if one.number not in known_numbers]
        counted = sum(REJECTED not in one.user_attrs for one in before)
        if any(one.params == begun.params for one in new) or counted >= most:
            self._set(begun.number, _VOID, "another process was quicker")
            self._end(begun.number, TrialState.FAIL)
            return None
        self._mine.add(begun.number)
        return begun

    def beat(self, number: int, count: int) -> None:
        """Gives a sign of life of a trial."""
        self.storage.set_trial_user_attr(self._trial_id(number), _BEAT, count)

    def release(self, number: int) -> None:
        """Gives a trial back, to be run again; its process is no reason not to."""
        with contextlib.suppress(TakenError):
            self._end(number, TrialState.FAIL)

    def is_searched(self) -> bool:
        """Whether another process is known to run a trial."""
        running = [one for one in self._all() if one.state == TrialState.RUNNING]
        return any(
            _is_gone(one) is False and one.user_attrs[_PROCESS][:4] != _process()
            for one in running
        )

    # What becomes of a trial.

    def report(self, number: int, step: int, value: float) -> None:
        """Notes the objective after an epoch.

        Raises:
            TakenError: If the trial was given to another process.
        """
        trial_id = self._trial_id(number)
        patiently(self.storage.set_trial_intermediate_value, trial_id, step, value)

    def note_trial(self, number: int, attributes: Mapping[str, Any]) -> None:
        """Notes something of a running trial; what has not changed is not written.

        Raises:
            TakenError: If the trial was given to another process.
        """
        for name, value in attributes.items():
            if self._noted.get((number, name)) != value:
                self._set(number, name, value)
                self._noted[number, name] = value

    def is_hopeless(self, number: int) -> bool:
        """What the pruner says of a trial."""
        trial = patiently(self.storage.get_trial, self._trial_id(number))
        return patiently(self.study.pruner.prune, self.study, trial)

    def end(
        self,
        number: int,
        state: TrialState,
        values: Sequence[float] | None,
        attributes: Mapping[str, Any],
        constraints: Mapping[str, float],
    ) -> None:
        """Ends a trial, if no other process has been given it.

        Args:
            number: Of the trial.
            state: How it ended.
            values: The objectives of a completed one.
            attributes: What was measured.
            constraints: By how much each limit was exceeded; negative within it.
        """
        with contextlib.suppress(TakenError):
            self.note_trial(number, attributes)
            if constraints:
                trial = optuna.Trial(self.study, self._trial_id(number))
                for name, value in constraints.items():
                    patiently(trial.set_constraint, name, value)
            self._end(number, state, values)
        self._noted.clear()

    def delete(self) -> None:
        """Deletes the study."""
        patiently(self.storage.delete_study, self._id)

    def _all(self) -> list[FrozenTrial]:
        self._last = patiently(lambda: self.study.get_trials(deepcopy=False))
        return self._last

    def _trial_id(self, number: int) -> int:
        if number not in self._ids:
            find = self.storage.get_trial_id_from_study_id_trial_number
            self._ids[number] = patiently(find, self._id, number)
        return self._ids[number]

    def _set(self, number: int, name: str, value: Any) -> None:
        trial_id = self._trial_id(number)
        patiently(self.storage.set_trial_user_attr, trial_id, name, value)

    def _end(
        self, number: int, state: TrialState, values: Sequence[float] | None = None
    ) -> None:
        trial_id = self._trial_id(number)
        patiently(self.storage.set_trial_state_values, trial_id, state, values)

    def _is_ended(self, trial: FrozenTrial) -> bool:
        """Ends a trial whose process is gone, or was not heard of for long."""
        is_gone = _is_gone(trial)
        is_own = trial.user_attrs.get(_PROCESS, ())[4:] == [self._own]
        if is_own and trial.number not in self._mine:
            # It was begun, but the server was away before it could say so.
            self.release(trial.number)
            return True
        beat, now = trial.user_attrs.get(_BEAT), time.monotonic()
        # Compared with what was seen here: clocks of machines differ.
        last, since = self._seen.get(trial.number, (None, now))
        if last != beat:
            last, since = beat, now
        self._seen[trial.number] = last, since
        if not is_gone and now - since < LOST:
            return False
        name, most = (_DEATHS, _MOST_DEATHS) if is_gone else (_LOSSES, _MOST_LOSSES)
        count = trial.user_attrs.get(name, 0) + 1
        with contextlib.suppress(TakenError):
            self._set(trial.number, name, count)
            if count >= most:
                self._set(
                    trial.number,
                    MESSAGE,
                    f"the process died {count} times while it ran this trial, probably "
                    "out of memory"
                    if is_gone
                    else f"{count} processes that ran this trial were not heard of any "
                    "more",
                )
            self._end(trial.number, TrialState.FAIL)
        return True


def make_folder(folder: Path) -> None:
    """Makes the folder of a project.

    Raises:
        OSError: If it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno,
            "`directory` and `project_name` must name a folder that exists or can be "
            f"made ({error.strerror}). Received: {str(folder)!r}. Choose another.",
        ) from error


def _refuse_older(folder: Path) -> None:
    found = [p for p in OLDER if folder.joinpath(p).exists()]
    if found:
        raise ValueError(
            "A project must be one of this version of keras_share.search, which keeps "
            f"it in a study of Optuna. Received: {str(folder)!r}, with {found[0]} of a "
            "stock tuner or an earlier version. Choose another `project_name`, or pass "
            "`overwrite=True`, which deletes it. The CSV file of an earlier "
            "leaderboard can be given as `earlier=`."
        )


def _made(
    name: str,
    storage: optuna.storages.BaseStorage,
    objectives: Mapping[str, str],
    pruner: optuna.pruners.BasePruner | None,
) -> optuna.Study:
    """The study of a name, which must be one of these objectives if it is there."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it says what it has made
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        sampler=optuna.samplers.RandomSampler(),
        pruner=pruner,
        directions=[StudyDirection[d.upper() + "IMIZE"] for d in objectives.values()],
        load_if_exists=True,
    )
    optuna.logging.set_verbosity(verbosity)
    wanted = [f"{one}imize".upper() for one in objectives.values()]
    had = [one.name for one in study.directions]
    if wanted != had:
        raise ValueError(
            "A study keeps its objectives. Received: "
            + ", ".join(f"{name} ({d})" for name, d in objectives.items())
            + f", for the study {study.study_name!r} of {len(had)} "
            f"({', '.join(had).lower()}: {', '.join(study.metric_names or ['?'])}). "
            "Choose another `project_name`, or pass `overwrite=True` to delete it."
        )
    if study.metric_names != list(objectives):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(objectives))
    return study


def _is_lost(trial: FrozenTrial) -> bool:
    """Whether a trial ended with its process and not by itself."""
    found = trial.user_attrs
    return (
        trial.state == TrialState.FAIL and MESSAGE not in found and _VOID not in found
    )


def _place(trial: FrozenTrial) -> int:
    """The number of the trial whose first attempt it was."""
    return trial.user_attrs.get("_place", trial.number)


def _process() -> list[Any]:
    """This process, as no other on any machine is called."""
    space = "/proc/self/ns/pid"
    machine = os.readlink(space) if os.path.exists(space) else platform.system()
    return [socket.gethostname(), machine, os.getpid(), _started(os.getpid())]


def _started(pid: int) -> str | None:
    """When a process started, None where the system doesn't tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]  # its name may have blanks


def _is_gone(trial: FrozenTrial) -> bool | None:
    """Whether the process of a trial has ended; None if that can't be seen here."""
    found = trial.user_attrs.get(_PROCESS)
    if found is None or found[:2] != _process()[:2] or os.name == "nt":
        return None
    try:
        os.kill(found[2], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return _started(found[2]) != found[3]
