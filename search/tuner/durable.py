"""`Durable`: an oracle that loses no finished trial, whenever its process ends."""

import json
import math
import shutil
import sys
import time
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras_tuner as kt

from keras_share.atomic import write_atomically
from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.project import record_files, saved
from keras_share.search.trial.measures import MEASURES
from keras_share.search.trial.objectives import of_oracle
from keras_share.search.trial.outcomes import REJECTED, mark, outcome_of
from keras_share.search.tuner import processes
from keras_share.search.tuner.finished import record_of

# A trial whose process died so often is not run again.
_MOST_DEATHS = 2
_MOST_REJECTIONS = 10  # in a row, times `max_trials`


class Durable(kt.Oracle):
    """Mixin for a `keras_tuner.Oracle`: saves all or nothing, and goes on anywhere.

    Put it before the oracle: `class MyOracle(Durable, keras_tuner.Oracle)`. A process
    may be killed at any moment: when the search is started again, trials that ended
    are kept and those that were running are run again, unless their process died
    twice: then they count as failed. What proposals depend on beside the finished
    trials must be in `get_state`, so that the search goes on as if it had not been
    interrupted.

    After `max_consecutive_failed_trials` failures in a row, or ten times `max_trials`
    rejections (see `TrialRejected`), or when all there is was rejected, the oracle
    starts no more trials; `halted` says why. A rejected trial does not count towards
    `max_trials`.

    Example:
    ```python
    class MyOracle(Durable, keras_tuner.Oracle):
        def populate_space(self, trial_id):
            ...
    ```
    """

    max_consecutive_failed_trials: int | None
    verbose: int
    # No `__init__`: the tuners read the arguments of an oracle from its signature.
    _asked: int | None = None
    _notes: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    _forgotten: tuple[str, ...] = ()
    _begun = False
    _failures = 0
    _rejections = 0
    _all_rejected = False
    _last: Trial | None = None

    @property
    def max_trials(self) -> int | None:
        """How many trials there may be: what was asked for, and the rejected ones."""
        if not self._asked:
            return self._asked
        outcomes = [outcome_of(trial) for trial in self.trials.values()]
        return self._asked + outcomes.count(REJECTED)

    @max_trials.setter
    def max_trials(self, value: int | None) -> None:
        # KerasTuner takes 0 for no limit.
        if value is not None and not (isinstance(value, Integral) and value > 0):
            raise ValueError(
                "`max_trials` must be an integer of at least 1, or None for no limit. "
                f"Received: max_trials={value!r}"
            )
        self._asked = value

    @property
    def halted(self) -> str | None:
        """Why no more trials are started, None while they are."""
        most_failures = self.max_consecutive_failed_trials or math.inf
        most_rejections = _MOST_REJECTIONS * (self._asked or math.inf)
        failed = self._failures >= most_failures
        rejected = self._all_rejected or self._rejections >= most_rejections
        if self._last is None or not (failed or rejected):
            return None
        # A worker writes the message into the record only; KerasTuner does not send it.
        record = record_files.read_one(self._project_dir, self._last.trial_id)
        message = (record and record.message) or self._last.message or "unknown"
        reason = message.strip().splitlines()[-1]
        if failed:
            return (
                f"{self._failures} trials in a row failed, trial "
                f"{self._last.trial_id} with: {reason}\nAll results are kept in "
                f"{self._project_dir!r}. Mend the cause and start the search again: "
                "it goes on with further trials. Or raise "
                f"`max_consecutive_failed_trials` ({self._failures})."
            )
        return (
            f"{self._rejections} trials in a row were rejected, trial "
            f"{self._last.trial_id} with: {reason}\nAll results are kept in "
            f"{self._project_dir!r}. Loosen the budget or enlarge the search space "
            "with smaller candidates, under another `project_name`."
        )

    def is_behind(self) -> bool:
        """Whether another process has gone on with the search since it was read."""
        state = saved.read_json(Path(self._project_dir, "oracle.json"))
        return state is not None and [self.start_order, self.end_order] != [
            state["start_order"],
            state["end_order"],
        ]

    def begin(self) -> None:
        """Begins a search: forgets earlier failures, and mends the files.

        To be called before the first trial, which else does it itself. Not when
        files are read, as somebody may only look at a search that still runs.
        """
        if not self.trials and saved.exists(self._project_dir):
            self.reload()  # a tuner of KerasTuner does not if its own file is missing
        self._begun = True
        self._failures = self._rejections = 0
        self._all_rejected = False
        for trial_id in self._forgotten:
            folder = Path(self._project_dir, f"trial_{trial_id}")
            shutil.rmtree(folder, ignore_errors=True)
        self._forgotten = ()
        for trial in list(self.trials.values()):
            if trial.trial_id not in self.end_order:
                self._give_up(trial)
        saved.remove_leftovers(self._project_dir)
        record_files.set_damaged_aside(self._project_dir)
        self.write_missing_records()

    @kt.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """Begins a trial: one that was interrupted, else a new one."""
        if not self._begun:
            self.begin()
        if tuner_id in self.ongoing_trials:
            # Its process would not ask if it were still at it.
            dead = self.ongoing_trials[tuner_id]
            self._count_death(dead.trial_id)
            self._give_up(dead)
            self.write_missing_records()
        if self.halted:
            self.tuner_ids.discard(tuner_id)
            return Trial(self.get_space(), status=TrialStatus.STOPPED)
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.STOPPED:
            self._look_for_any_but_rejected()
        if trial.status == TrialStatus.RUNNING:
            # KerasTuner takes the metrics of an earlier attempt for those of this one.
            trial.metrics = Trial(trial.hyperparameters).metrics
            trial.message = None
            self._note(trial.trial_id, worker=tuner_id, started=time.time())
            self._save_trial(trial)
        return trial

    @kt.synchronized
    def update_trial(
        self, trial_id: str, metrics: Mapping[str, float], step: int = 0
    ) -> Trial:
        """Notes the metrics of a running trial."""
        trial = self.trials[trial_id]
        if trial_id in self.end_order:
            return trial  # from a worker that had been given up for dead
        if not mark(REJECTED).keys() <= metrics.keys():
            return super().update_trial(trial_id, metrics, step)
        for name, value in metrics.items():  # KerasTuner objects to no objective
            if not math.isnan(value):
                trial.metrics.update(name, value)
        self._save_trial(trial)
        return trial

    @kt.synchronized
    def end_trial(self, trial: Trial) -> None:
        """Ends a trial, of which everything is then saved."""
        if trial.trial_id in self.end_order:
            return  # from a worker that had been given up for dead
        limit = self.max_consecutive_failed_trials
        self.max_consecutive_failed_trials = None  # KerasTuner raises before it saves
        try:
            super().end_trial(trial)
        finally:
            self.max_consecutive_failed_trials = limit
        self._count(self.trials[trial.trial_id])

    @kt.synchronized
    def release(self, tuner_id: str) -> None:
        """Gives the trial of a tuner back, to be run again; no death is counted."""
        trial = self.ongoing_trials.pop(tuner_id, None)
        if trial is not None and trial.trial_id not in self.end_order:
            self._retry_queue.append(trial.trial_id)
            self.save()

    def save(self) -> None:
        """Saves the state of the oracle, whole or not at all."""
        path = Path(self._project_dir, "oracle.json")
        write_atomically(path, json.dumps(self.get_state()).encode())

    def _save_trial(self, trial: Trial) -> None:
        # Private to KerasTuner, and the only place where it writes a trial.
        notes = self._notes.get(trial.trial_id, {})
        saved.write_trial(self._project_dir, trial, notes)

    def reload(self) -> None:
        """Reads the trials and the state of the oracle, whatever was saved last.

        Raises:
            ValueError: If a file can't be read, or is of another kind of oracle.
        """
        project = saved.read(self._project_dir, self.hyperparameters)
        self.trials = project.trials
        self._notes = project.notes
        self._forgotten = tuple(project.forgotten)
        if project.state is None:
            self._rebuild(project)
        else:
            try:
                self.set_state(project.state)
            except KeyError as error:
                raise ValueError(
                    "The project must be one of the same kind of search. Received: "
                    f"{self._project_dir!r}, in which oracle.json has no {error}. "
                    "Choose another `project_name`, or pass `overwrite=True`, which "
                    "deletes its trials."
                ) from error
        for trial in self.trials.values():
            self._score_anew(trial)
        for trial_id in project.adopted:
            self.update_space(self.trials[trial_id].hyperparameters)
            self._record_values(self.trials[trial_id])
        # Where several processes search, it is this one that died and not theirs.
        if not processes.is_distributed():
            for trial_id in project.interrupted:
                self._count_death(trial_id)

    def _score_anew(self, trial: Trial) -> None:
        """Scores a trial by the objective with which the search goes on."""
        if trial.status != TrialStatus.COMPLETED:
            return
        if trial.metrics.exists(self.objective.name):
            self.score_trial(trial)
        else:
            trial.status = TrialStatus.FAILED
            trial.message = f"it has no {self.objective.name}"

    def write_missing_records(self) -> None:
        """Writes the records of ended trials whose process died before it did so."""
        written = {one.trial_id: one for one in record_files.read(self._project_dir)}
        measured = set(MEASURES).union(*(one.measures for one in written.values()))
        for trial_id in self.end_order:
            trial = self.trials[trial_id]
            if trial_id in written:
                continue
            found = {
                name: int(value) if value.is_integer() else value
                for name in sorted(measured)
                if trial.metrics.exists(name)
                for value in [trial.metrics.get_last_value(name)]
            }
            notes = self._notes.get(trial_id, {})
            path = Path(self._project_dir, f"trial_{trial_id}", "trial.json")
            ended = path.stat().st_mtime if path.exists() else time.time()
            record = record_of(
                trial,
                of_oracle(self),
                parameters=found.pop("parameters", None),
                measures=found,
                started=notes.get("started", ended),
                ended=ended,
                worker=notes.get("worker"),
                message=trial.message,
            )
            record_files.write(self._project_dir, record)

    def _rebuild(self, project: saved.SavedProject) -> None:
        """Makes the state of the oracle from the trials, as its own file is lost."""
        if not self.trials:
            return
        print(
            f"oracle.json in {self._project_dir!r} was damaged or missing: the search "
            f"goes on with its {len(self.trials)} trials, in another order than it "
            "would have.",
            file=sys.stderr,
        )
        self.start_order = list(self.trials)
        self.end_order = list(project.adopted)
        self._retry_queue = [i for i in self.trials if i not in self.end_order][::-1]

    def _note(self, trial_id: str, **changes: Any) -> None:
        earlier = self._notes.get(trial_id, {})
        self._notes = {**self._notes, trial_id: {**earlier, **changes}}

    def _count_death(self, trial_id: str) -> None:
        deaths = self._notes.get(trial_id, {}).get("deaths", 0)
        self._note(trial_id, deaths=deaths + 1)

    def _give_up(self, trial: Trial) -> None:
        """Ends a trial that its process did not survive too often."""
        deaths = self._notes.get(trial.trial_id, {}).get("deaths", 0)
        if deaths < _MOST_DEATHS:
            return
        if trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
        trial.status = TrialStatus.FAILED
        trial.message = (
            f"the process died {deaths} times while it ran this trial, probably out "
            "of memory"
        )
        # KerasTuner's display wants to know when the trial began.
        verbose, self.verbose = self.verbose, 0
        self.end_trial(trial)
        self.verbose = verbose

    def _look_for_any_but_rejected(self) -> None:
        """Halts a search that ends without having trained anything."""
        trials = list(self.trials.values())
        if trials and all(outcome_of(trial) == REJECTED for trial in trials):
            self._all_rejected = True
            self._rejections, self._last = len(trials), trials[-1]

    def _count(self, trial: Trial) -> None:
        """Counts what may halt the search."""
        outcome = outcome_of(trial)
        if outcome == TrialStatus.INVALID:
            return  # will be tried again
        self._last = trial
        self._failures = self._failures + 1 if outcome == TrialStatus.FAILED else 0
        self._rejections = self._rejections + 1 if outcome == REJECTED else 0
