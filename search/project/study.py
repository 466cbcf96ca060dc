"""`Project`: the study of a search, and what its processes do with it.

A trial is written at once with all its values, so that nobody sees half of one, and
its number is the order in which trials began for all processes. Attributes of a trial
whose names begin with an underscore are for the search itself.
"""

import contextlib
import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState, create_trial

from keras_share.atomic import check_writable
from keras_share.search.project.connection import EXPERIMENTAL, connect, patiently
from keras_share.search.project.opening import (
    make_folder,
    make_study,
    open_study,
    refuse_older,
)
from keras_share.search.project.presence import Presence, Pulse
from keras_share.search.project.record import (
    MESSAGE,
    TrialRecord,
    counted,
    place_of,
    record_of,
)
from keras_share.search.trial.objectives import objectives_of

_ASKING = 20  # seconds to wait for others on this machine that begin a trial
_LOOK = 1.0  # seconds between two looks for trials whose process is gone
_MOST_DEATHS = 3  # of processes that run one trial

_PROCESS, _VOID, _RETRY_OF = "_process", "_void", "_retry_of"
_DEATHS = "_deaths"  # of processes that ran the trial before, under another number

TakenError = optuna.exceptions.UpdateFinishedTrialError


class Project:
    """The study of a search and the direction of each objective, by name.

    It is made if there is none; without objectives it must be there. Storages are those
    of `connection.connect`, and `pruner` is that of `is_hopeless`.

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
        refuse_older(self.folder)
        if objectives is None:
            self.storage = connect(self.folder, storage, must_exist=True)
            self.study = patiently(open_study, self.folder, self.storage)
        else:
            make_folder(self.folder)
            check_writable(self.folder / "search.lock")
            with self.asking():
                self.storage = connect(self.folder, storage)
                self.study = patiently(
                    make_study, self.folder, self.storage, objectives, pruner
                )
        find = self.storage.get_study_id_from_name
        self._id = patiently(find, self.study.study_name)
        self.objectives = patiently(objectives_of, self.study)
        self._presence = Presence(self.folder)
        self._pulse = Pulse(self.storage)
        self._last: list[FrozenTrial] = []
        self._looked = -math.inf
        self._mine: set[int] = set()
        self._ids: dict[int, int] = {}
        self._noted: dict[tuple[int, str], Any] = {}
        self._records: dict[int, TrialRecord] = {}

    @property
    def notes(self) -> dict[str, Any]:
        """What is noted of the search as a whole."""
        return patiently(lambda: self.study.user_attrs)

    def note(self, name: str, value: Any) -> None:
        """Notes something of the search as a whole."""
        patiently(self.storage.set_study_user_attr, self._id, name, value)

    def trials(self, again: bool = True) -> list[FrozenTrial]:
        """The trials that count, in the order in which they began first, read `again`.

        Those are left out that were lost, to be run again or run again since, or given
        up since another process was quicker.
        """
        found = self._all() if again else self._last
        lost = {one.number for one in found if _is_lost(one)}
        return sorted(
            (t for t in found if t.number not in lost and _VOID not in t.user_attrs),
            key=place_of,
        )

    def records(
        self, trials: Sequence[FrozenTrial] | None = None
    ) -> tuple[TrialRecord, ...]:
        """The records of all trials that have ended, of those that `trials` gave."""
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
        """Lets one process of this machine at a time choose what to try next.

        After a while others go on, so that one that was stopped stops nobody. What two
        machines choose at the same moment `begin` tells apart.
        """
        held: Any = contextlib.nullcontext()
        with contextlib.suppress(Timeout):
            held = self._lock.acquire(timeout=_ASKING)
        with held:
            yield

    def lost(self) -> FrozenTrial | None:
        """A trial whose process is gone, to be run again; None if there is none."""
        found = self._all()
        if time.monotonic() - self._looked > _LOOK:
            for trial in found:
                if trial.state == TrialState.RUNNING and self._is_gone(trial):
                    with contextlib.suppress(TakenError):
                        self._end(trial.number, TrialState.FAIL)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", category=EXPERIMENTAL)
                patiently(optuna.storages.fail_stale_trials, self.study)
            found, self._looked = self._all(), time.monotonic()
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

        Attributes are further facts; at most `most` trials may there be. `known` were
        known when the values were chosen; `again` is the lost trial that they are of.
        """
        self._presence.show()
        attributes = {**attributes, _PROCESS: self._presence.name}
        if again is not None:
            deaths = _deaths(again) + 1
            attributes |= {_RETRY_OF: again.number, "_place": place_of(again)}
            attributes[_DEATHS] = deaths
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
        self._pulse.start(trial_id)
        begun = patiently(self.storage.get_trial, trial_id)
        self._ids[begun.number] = trial_id
        known_numbers = {one.number for one in known}
        before = [one for one in self.trials() if one.number < begun.number]
        new = [one for one in before if one.number not in known_numbers]
        is_same = any(one.params == begun.params for one in new)
        if is_same or counted(before) >= most:
            self._set(begun.number, _VOID, "another process was quicker")
            self._end(begun.number, TrialState.FAIL)
            return None
        self._mine.add(begun.number)
        return begun

    def release(self, number: int) -> None:
        """Gives a trial back, to be run again; its process is no reason not to."""
        with contextlib.suppress(TakenError):
            trial = patiently(self.storage.get_trial, self._trial_id(number))
            self._set(number, _DEATHS, _deaths(trial) - 1)
            self._end(number, TrialState.FAIL)

    def is_searched(self) -> bool:
        """Whether another process is known to run a trial."""
        names = [
            one.user_attrs.get(_PROCESS)
            for one in self._all()
            if one.state == TrialState.RUNNING
        ]
        others = [name for name in names if name and name != self._presence.name]
        return any(self._presence.is_alive(name) for name in others)

    # What becomes of a trial.

    def report(self, number: int, step: int, value: float) -> None:
        """Notes the objective after an epoch; TakenError if another has the trial."""
        trial_id = self._trial_id(number)
        patiently(self.storage.set_trial_intermediate_value, trial_id, step, value)

    def note_trial(self, number: int, attributes: Mapping[str, Any]) -> None:
        """Notes what has changed of a running trial; errors as of `report`."""
        for name, value in attributes.items():
            if self._noted.get((number, name)) != value:
                self._set(number, name, value)
                self._noted[number, name] = value

    def complete(
        self, number: int, params: Mapping[str, Any], distributions: Mapping[str, Any]
    ) -> None:
        """Adds the values of hyperparameters that a trial came upon while it ran."""
        trial_id = self._trial_id(number)
        known = patiently(self.storage.get_trial, trial_id).params
        with contextlib.suppress(TakenError):
            for name in distributions.keys() - known:
                kind = distributions[name]
                value = kind.to_internal_repr(params[name])
                patiently(self.storage.set_trial_param, trial_id, name, value, kind)

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
        """Ends a trial with what was measured, if no other process has been given it.

        Constraints are by how much each limit was exceeded, negative within it.
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
        try:
            self._last = patiently(lambda: self.study.get_trials(deepcopy=False))
        # What Optuna and SQLAlchemy meet where rows are not what they wrote.
        except (LookupError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(
                "The trials of a study must be as Optuna wrote them. Received: "
                f"{self.study.study_name!r}, whose trials can't be read "
                f"({type(error).__name__}: {error}). Take a copy from before."
            ) from error
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
        if number in self._mine:
            self._pulse.stop()
        trial_id = self._trial_id(number)
        patiently(self.storage.set_trial_state_values, trial_id, state, values)

    def _is_gone(self, trial: FrozenTrial) -> bool:
        name = trial.user_attrs.get(_PROCESS)
        if name == self._presence.name:
            # Else it was begun, but the server was away before it could say so.
            return trial.number not in self._mine
        return name is not None and self._presence.is_alive(name) is False


def _deaths(trial: FrozenTrial) -> int:
    found = trial.user_attrs.get(_DEATHS)
    return found if isinstance(found, int) else 0


def _is_lost(trial: FrozenTrial) -> bool:
    """Whether a trial ended with its process and not by itself, and may begin again."""
    found = trial.user_attrs
    return (
        trial.state == TrialState.FAIL
        and MESSAGE not in found
        and _VOID not in found
        and _deaths(trial) + 1 < _MOST_DEATHS
    )
