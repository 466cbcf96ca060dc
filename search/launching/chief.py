"""The chief of a search: serves the oracle, and knows when all is done."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.launching.delegate import Delegate
from keras_share.search.launching.events import Emit, record_in
from keras_share.search.project import record_files
from keras_share.search.project.record import format_patterns
from keras_share.search.space.sharing_pattern import patterns_of
from keras_share.search.tuner.durable import Durable
from keras_share.search.tuner.recording import Recording

LOST = 60.0  # seconds without a sign of life of a trial's worker
FAREWELL = 20.0  # seconds for a worker to ask again and hear that it is over


class Chief:
    """Serves the tuner's oracle to workers, in a thread.

    KerasTuner's own loop would sleep up to 20 seconds after the last trial, and wait
    forever for a worker that was lost or when its oracle gave up. Here the loop is
    left alone, and what the oracle is asked tells how the search stands.

    Args:
        tuner: The tuner, made in a process that is KerasTuner's chief.
        arguments: The arguments of its `search`.
        emit: Called with the name of a method of `SilentProgress` and its arguments,
            from threads of the server.
    """

    def __init__(self, tuner: Recording, arguments: dict[str, Any], emit: Emit):
        self.error: Exception | None = None  # ends the search
        self._tuner = tuner
        self._emit = emit
        self._heard: dict[str, float] = {}
        self._last_asked = time.monotonic()
        self._stopped = False
        self._oracle = tuner.oracle
        tuner.oracle = Delegate(
            tuner.oracle,
            create_trial=self.create_trial,
            get_trial=self.get_trial,
            update_trial=self.update_trial,
            end_trial=self.end_trial,
        )
        self._thread = threading.Thread(
            target=self._serve, args=(arguments,), daemon=True
        )

    def start(self) -> None:
        """Starts to serve."""
        self._thread.start()

    def is_over(self, local: set[str]) -> bool:
        """Whether every trial has ended and every worker knows that none is left.

        Args:
            local: Workers that need not know, as they will be ended.
        """
        if not self._stopped or self._oracle.ongoing_trials:
            return False
        waiting = set(self._oracle.tuner_ids) - local
        return not waiting or time.monotonic() - self._last_asked > FAREWELL

    def hear(self, trial_ids: Iterable[str]) -> None:
        """Takes a sign of life of trials: whoever watches their processes sees them."""
        self._heard.update(dict.fromkeys(trial_ids, time.monotonic()))

    def finish(self) -> None:
        """Ends the search as its own `search` would, some time later."""
        if isinstance(self._oracle, Durable):
            self._oracle.write_missing_records()
            if self._oracle.halted:
                self.error = RuntimeError(self._oracle.halted)

    # What the oracle is asked, by one thread of the server.

    def create_trial(self, tuner_id: str) -> Trial:
        """A trial for a worker: its own, one that was lost, or a new one."""
        self._last_asked = time.monotonic()
        ongoing = self._oracle.ongoing_trials
        if tuner_id not in ongoing:
            self._pass_on_a_lost_one(tuner_id)
        trial = self._fatal(self._oracle.create_trial, tuner_id)
        if trial.status == TrialStatus.STOPPED and ongoing:
            # Any of them may be lost yet, and is then for those who still ask.
            self._oracle.tuner_ids.add(tuner_id)
            trial.status = TrialStatus.IDLE
        if trial.status == TrialStatus.STOPPED:
            self._stopped = True
        elif trial.status == TrialStatus.RUNNING:
            self.hear([trial.trial_id])
            self._emit("on_trial", trial.trial_id, tuner_id)
            patterns = patterns_of(trial.hyperparameters)
            self._emit("on_pattern", format_patterns(patterns), tuner_id)
        return trial

    def get_trial(self, trial_id: str) -> Trial:
        """A trial, and a sign of life from those who watch its worker."""
        self.hear([trial_id])
        return self._oracle.get_trial(trial_id)

    def update_trial(self, trial_id: str, metrics: Any, step: int = 0) -> Trial:
        """Metrics of a trial, or its record, which only its worker has on disk."""
        self.hear([trial_id])
        record = record_in(metrics)
        if record is None:
            return self._oracle.update_trial(trial_id, metrics, step=step)
        record_files.write(self._tuner.project_dir, record)
        self._emit("on_end", record)
        return self._oracle.get_trial(trial_id)

    def end_trial(self, trial: Trial) -> None:
        """The end of a trial."""
        self._last_asked = time.monotonic()
        self._fatal(self._oracle.end_trial, trial)

    def _pass_on_a_lost_one(self, tuner_id: str) -> None:
        """Lets a worker have the trial of one that was not heard of.

        That one may only be slow or cut off, so this is no death of its process.
        """
        ongoing, now = self._oracle.ongoing_trials, time.monotonic()
        for silent, trial in list(ongoing.items()):
            if now - self._heard.get(trial.trial_id, now) <= LOST:
                continue
            if isinstance(self._oracle, Durable):
                self._fatal(self._oracle.release, silent)
            else:
                ongoing[tuner_id] = ongoing.pop(silent)
            return

    def _fatal(self, method: Callable, *args: Any) -> Any:
        """What the oracle raises here ends a search, as it would in one process."""
        try:
            return method(*args)
        except Exception as error:
            self.error = error
            raise

    def _serve(self, arguments: dict[str, Any]) -> None:
        try:
            self._tuner.search(**{**arguments, "verbose": 0})
        except Exception as error:
            self.error = error
