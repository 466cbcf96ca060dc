"""The mixin that makes a KerasTuner tuner record, measure and show its trials."""

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import keras_tuner as kt
import pandas as pd

from keras_share.atomic import write_atomically
from keras_share.search.display.live import display
from keras_share.search.display.progress import SilentProgress
from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.project import checkpoints, fingerprint, record_files, saved
from keras_share.search.project.lock import searching
from keras_share.search.project.record import TrialRecord
from keras_share.search.results import SearchResults
from keras_share.search.trial import budget
from keras_share.search.trial.donor import check_donor
from keras_share.search.trial.objectives import of_oracle
from keras_share.search.trial.outcomes import REJECTED, TrialRejected, mark
from keras_share.search.trial.pruning import get as read_pruning
from keras_share.search.tuner import processes
from keras_share.search.tuner.durable import Durable
from keras_share.search.tuner.finished import record_of
from keras_share.search.tuner.observed import Measure, ObservedHyperModel, TrialNotes
from keras_share.search.tuner.pruned import Pruned

DYNAMIC = MappingProxyType({"quantization": "dynamic"})


class _EnoughTrialsError(Exception):
    """Ends `search` in a process that has run its `trials_per_process`."""


class Recording(kt.Tuner):
    """Mixin for a `keras_tuner.Tuner`: records, measures and shows every trial.

    Put it before the tuner: `class MySearch(Recording, keras_tuner.Tuner)`. Each trial
    that ends leaves one record in `<project_dir>/results`. Results are always read from
    there, so they outlive the process and cover all workers of the project.

    Args:
        *args: Arguments of the tuner.
        export: Keyword arguments of `keras_share.export_tflite`, which measures
            `exported_bytes` and more, see `measures.measure_file`; None to export
            nothing.
        measure: Optional function from a built model to further columns of the
            leaderboard, as a dictionary of numbers. Less is better in them.
        max_bytes: The most that an exported file may have. What exceeds it is not
            trained, has the status `"REJECTED"`, and does not count as a trial.
        max_latency: The longest that a run of the file may take, in milliseconds.
        inherit: A trained model, or the path to a `.keras` file of one, that each trial
            starts from; see `keras_share.search.inherit`.
        pruning: Stops hopeless trials early: `"median"`, `"halving"` or a
            `keras_share.search.trial.pruning.PruningRule`. Their status is `"PRUNED"`.
        keep_checkpoints: Only the weights of so many best trials stay on disk, and of
            several objectives those of as many on the front; None keeps all. Hyperband
            keeps all, as it continues earlier trials.
        on_change: `"refuse"` to end with an error where a search goes on with another
            search space, objective, code of the hypermodel, budget, `export`,
            `inherit`, `executions_per_trial` or plain argument of `search` than it
            began with; `"continue"` to go on with the new ones.
        trials_per_process: `search` returns after this many trials of this process,
            and goes on in the next that runs the same script. TensorFlow keeps about
            11 MB per trial until its process ends.
        **kwargs: Keyword arguments of the tuner.

    Raises:
        TypeError: If `export` or `measure` is of another type.
        ValueError: If `keep_checkpoints` or `on_change` is out of its range.
        OSError: If the folder of the project can't be made.
    """

    hypermodel: kt.HyperModel | None

    def __init__(
        self,
        *args: Any,
        export: Mapping[str, Any] | None = DYNAMIC,
        measure: Measure | None = None,
        max_bytes: float | None = None,
        max_latency: float | None = None,
        inherit: Any = None,
        pruning: Any = None,
        keep_checkpoints: int | None = 5,
        on_change: str = "refuse",
        trials_per_process: int | None = None,
        **kwargs: Any,
    ):
        if export is not None and not isinstance(export, Mapping):
            raise TypeError(
                "`export` must be a dictionary of keyword arguments for "
                "`keras_share.export_tflite`, for example "
                "{'quantization': 'dynamic'}, or None to export nothing. "
                f"Received: export={export!r}"
            )
        if measure is not None and not callable(measure):
            raise TypeError(
                "`measure` must be a function from a model to a dictionary of numbers, "
                f"or None. Received: measure={measure!r}"
            )
        self.export = export
        self.measure = measure
        if on_change not in ("refuse", "continue"):
            raise ValueError(
                "`on_change` must be 'refuse' or 'continue'. "
                f"Received: on_change={on_change!r}"
            )
        if keep_checkpoints is not None and keep_checkpoints < 0:
            raise ValueError(
                "`keep_checkpoints` must be at least 0, or None to keep all. "
                f"Received: keep_checkpoints={keep_checkpoints!r}"
            )
        self.keep_checkpoints = keep_checkpoints
        self.on_change = on_change
        self.trials_per_process = trials_per_process
        self.limits = budget.limits(max_bytes, max_latency)
        self.inherit = check_donor(inherit)
        self.pruning = read_pruning(pruning, kwargs.get("executions_per_trial", 1))
        self._trials_run = 0
        self._running: TrialNotes | None = None
        self._progress = SilentProgress()
        if processes.is_worker():
            kwargs["overwrite"] = False  # a late one would delete the others' trials
        folder = Path(
            kwargs.get("directory") or ".",
            kwargs.get("project_name") or "untitled_project",
        )
        saved.prepare(folder, processes.tuner_id())
        if kwargs.get("overwrite"):
            with searching(folder):
                pass  # what another process searches in is not deleted
        self._space = kt.HyperParameters()
        self._objectives: Sequence[kt.Objective] = ()
        super().__init__(*args, **kwargs)
        if self.pruning is not None and not processes.is_worker():
            if not isinstance(self.oracle, Pruned):
                raise ValueError(
                    "`pruning` needs an oracle that can stop trials, which that of "
                    f"{type(self).__name__} can't. Received: pruning={pruning!r}. "
                    "Leave it out, or take another tuner of keras_share.search."
                )
            self.oracle.pruning = self.pruning
        self._code = {}
        if self.hypermodel is not None:
            self._code = fingerprint.code_of(self.hypermodel)
            self.hypermodel = ObservedHyperModel(self.hypermodel, self)
        elif type(self).run_trial is Recording.run_trial:
            raise ValueError(
                "`hypermodel` must be a function from hyperparameters to a model, or a "
                "`keras_tuner.HyperModel`, unless a subclass has its own `run_trial`. "
                "Received: hypermodel=None"
            )

    @property
    def measured(self) -> set[str]:
        """What must be measured of each trial's file, beside what always is."""
        return {*self.limits, *(objective.name for objective in self._objectives)}

    @property
    def results(self) -> SearchResults:
        """The `SearchResults` of all trials that have ended, earlier runs included."""
        objectives = {one.name: one.direction for one in self._objectives}
        return SearchResults(record_files.read(self.project_dir), objectives)

    def leaderboard(self) -> pd.DataFrame:
        """All trials, best first. See `SearchResults.leaderboard`."""
        return self.results.leaderboard()

    def pareto_front(self, *columns: str) -> pd.DataFrame:
        """The trials that no other beats. See `SearchResults.pareto_front`."""
        return self.results.pareto_front(*columns)

    def search(
        self, *fit_args: Any, verbose: str | int = "auto", **fit_kwargs: Any
    ) -> None:
        """Searches as KerasTuner does, with a display of its own.

        Args:
            *fit_args: Arguments of `fit`, such as the data.
            verbose: `"auto"` or 1: progress bars on a terminal, elsewhere one line per
                finished trial. 2: one line per finished trial. 0: nothing. Failures
                are reported on stderr in any case.
            **fit_kwargs: Keyword arguments of `fit`.

        Raises:
            ValueError: If the search goes on with other things than it began with;
                see `on_change`.
            RuntimeError: If `max_consecutive_failed_trials` trials in a row fail.
            BlockingIOError: If another process searches in the same folder.
        """
        with contextlib.ExitStack() as held:
            if not processes.is_worker():
                held.enter_context(searching(self.project_dir))
                if isinstance(self.oracle, Durable) and self.oracle.is_behind():
                    self.reload()
            self._search(fit_args, verbose, fit_kwargs)

    def _search(
        self,
        fit_args: Sequence[Any],
        verbose: str | int,
        fit_kwargs: Mapping[str, Any],
    ) -> None:
        positional = {f"argument {i}": value for i, value in enumerate(fit_args)}
        self._check_unchanged({**positional, **fit_kwargs})
        oracle = self.oracle if isinstance(self.oracle, Durable) else None
        if oracle is not None:
            oracle.begin()
        # A chief runs no trials, so its own display would stand still.
        verbose = 0 if processes.is_chief() else verbose
        self._progress = display(verbose, self.results.records, self.oracle.max_trials)
        self.oracle.verbose = 0
        try:
            with self._progress, warnings.catch_warnings():
                # That a trial with `pruning` reports its epochs.
                reports = "The use case of calling"
                warnings.filterwarnings("ignore", reports, DeprecationWarning)
                super().search(*fit_args, **fit_kwargs)
        except _EnoughTrialsError:
            pass
        except BaseException:
            if oracle is not None:
                with contextlib.suppress(OSError):  # the folder may be the reason
                    oracle.release(self.tuner_id)
            raise
        finally:
            self._running = None
        if oracle is not None:
            oracle.write_missing_records()  # of workers that died
            if oracle.halted:
                raise RuntimeError(oracle.halted)

    def _populate_initial_space(self) -> None:
        # Private to KerasTuner, which keeps it for others to override. Here the oracle
        # is still the own one, in a worker too.
        super()._populate_initial_space()
        self._space = self.oracle.get_space()
        self._objectives = of_oracle(self.oracle)

    def reload(self) -> None:
        """Reads what was saved, and declares the search space anew beside it."""
        self._populate_initial_space()
        super().reload()

    def _check_unchanged(self, arguments: Mapping[str, Any]) -> None:
        executions = getattr(self, "executions_per_trial", 1)
        settings = fingerprint.settings_of(
            self.export, self.inherit, executions, self.limits
        )
        now = fingerprint.take(
            self._space, self._objectives, self._code, settings, arguments
        )
        if processes.is_worker():
            self.oracle.get_space()  # waits for the chief, which has written its own
            fingerprint.check(self.project_dir, now)
            return
        before = fingerprint.read(self.project_dir)
        if before is not None and fingerprint.differences(before, now):
            if self.oracle.trials and self.on_change == "refuse":
                fingerprint.check(self.project_dir, now)
            self.oracle.hyperparameters = self._space.copy()
        fingerprint.write(self.project_dir, now)

    def save(self) -> None:
        """Saves the oracle and the tuner, each file whole or not at all."""
        if not processes.is_worker():
            self.oracle.save()
        path = Path(self.project_dir, f"{self.tuner_id}.json")
        write_atomically(path, json.dumps(self.get_state()).encode())

    def pre_create_trial(self) -> None:
        """Ends the search once this process has run `trials_per_process` trials."""
        super().pre_create_trial()
        if self._trials_run == self.trials_per_process:
            raise _EnoughTrialsError

    def on_trial_begin(self, trial: Trial) -> None:
        """Starts the clock of a trial."""
        super().on_trial_begin(trial)
        self._running = TrialNotes(trial.trial_id)
        self._progress.on_trial(trial.trial_id)

    def run_trial(self, trial: Trial, *fit_args: Any, **fit_kwargs: Any) -> Any:
        """Runs a trial; one that is rejected ends here, without training."""
        try:
            return super().run_trial(trial, *fit_args, **fit_kwargs)
        except TrialRejected as rejection:
            # Here, because KerasTuner would print its traceback.
            running = self._running
            assert running is not None  # since `on_trial_begin`
            running.rejected = str(rejection)
            name = self.oracle.objective.name
            return {name: float("nan"), **running.values(), **mark(REJECTED)}

    def on_trial_end(self, trial: Trial) -> None:
        """Ends a trial and writes its record."""
        running, self._running = self._running, None
        assert running is not None  # since `on_trial_begin`
        self._trials_run += 1
        trial.message = running.rejected or running.pruned or trial.message
        if running.rejected or running.pruned:
            trial.status = TrialStatus.FAILED  # neither has a score to be compared
        elif trial.status == TrialStatus.COMPLETED:
            trial.message = None  # of an earlier, failed attempt
        try:
            super().on_trial_end(trial)
        finally:
            # Only the oracle scores a trial, finds a NaN, or gives up a trial that
            # failed too often; and it may raise after several failures in a row.
            record = record_of(
                self.oracle.get_trial(trial.trial_id),
                self._objectives,
                parameters=running.parameters,
                measures=running.measures or {},
                started=running.started,
                ended=time.time(),
                worker=self.tuner_id,
                message=trial.message,  # which a chief does not send
            )
            if record.status in (TrialStatus.FAILED, TrialStatus.INVALID):
                _report_failure(record)
            record_files.write(self.project_dir, record)
            self._progress.on_end(record)
        if self.keep_checkpoints is not None:
            best = self.oracle.get_best_trials(self.keep_checkpoints)
            # KerasTuner fills up with failed ones.
            kept = {t.trial_id for t in best if t.status == TrialStatus.COMPLETED}
            kept |= checkpoints.front(
                self.project_dir, self._objectives, self.keep_checkpoints
            )
            checkpoints.remove(self.project_dir, kept)

    def load_model(self, trial: Trial) -> keras.Model:
        """Loads the model of a trial with the weights of its best epoch.

        Raises:
            FileNotFoundError: If its weights were removed; see `keep_checkpoints`.
        """
        if not checkpoints.of(self.project_dir, trial.trial_id):
            raise FileNotFoundError(
                "A model can be loaded from one of the best `keep_checkpoints` "
                f"({self.keep_checkpoints}) trials. Received: trial {trial.trial_id}, "
                "whose weights were removed or never written. Train it anew with "
                "`tuner.hypermodel.build(trial.hyperparameters)`, or search with a "
                "larger `keep_checkpoints`."
            )
        return super().load_model(trial)


def _report_failure(record: TrialRecord) -> None:
    # KerasTuner has printed the traceback of an exception just before, without a word
    # about the trial. (A test fails once it no longer does.)
    print(
        f"Trial {record.trial_id} failed: {record.reason}\n"
        f"  pattern: {record.pattern or 'unknown'}\n"
        f"  hyperparameters: {record.hyperparameters}",
        file=sys.stderr,
    )
