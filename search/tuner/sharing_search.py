"""`SharingSearch`: the tuner that knows what a sharing pattern is."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import keras_tuner as kt
import pandas as pd

from keras_share.search.display import Display
from keras_share.search.engine import Trial
from keras_share.search.project import checkpoints
from keras_share.search.project.deleting import delete_project
from keras_share.search.project.earlier import observations
from keras_share.search.project.identity import agree, code_of, identity
from keras_share.search.project.opening import make_folder
from keras_share.search.results import SearchResults
from keras_share.search.trial import budget, objectives
from keras_share.search.trial.budget import TrialRejected
from keras_share.search.trial.inheritance import check_donor
from keras_share.search.trial.pruning import get as read_pruning
from keras_share.search.tuner.observed import Measure, ObservedHyperModel
from keras_share.search.tuner.oracle import SharingOracle
from keras_share.search.tuner.running import Running

DYNAMIC = MappingProxyType({"quantization": "dynamic"})
# The name of a process that a launcher started, which has prepared the project.
WORKER = "KERAS_SHARE_WORKER"


class _EnoughTrialsError(Exception):
    """Ends `search` in a process that has run its `trials_per_process`."""


class SharingSearch(kt.Tuner):
    """A search that knows what a sharing pattern is, and several objectives at once.

    A Gaussian process learns from the trials which sites like to share, beside what
    other hyperparameters do; of several objectives it seeks the Pareto front by
    expected improvement of the hypervolume. Nothing is trained twice. Takes the place
    of any tuner of `keras_tuner`.

    Every trial is in a study of Optuna, by the name of the project. Whatever process
    runs the same script takes part in the search, at any time and on any machine that
    reaches the storage. A trial whose process ends is given to another.

    Args:
        hypermodel: Function from `keras_tuner.HyperParameters` to a compiled model, or
            a `keras_tuner.HyperModel`.
        objective: Name of a metric (`"val_accuracy"`), a `keras_tuner.Objective`, or a
            list: metrics, of which the first tells the best epoch, and measures of the
            exported file (`"exported_bytes"`, `"weight_bytes"`, `"macs"`,
            `"estimated_memory_bytes"`, `"latency_ms"`, `"memory_bytes"`).
        max_trials: At most this many trials, rejected ones not counted; None for no
            limit.
        policy: What proposes trials: `"surrogate"`, `"evolution"` or `"random"`, or an
            object of `keras_share.search.policies`.
        earlier: An earlier search to learn from: the path to its folder, or to the CSV
            file of its leaderboard.
        storage: Where the study is kept: None for a file in the project's folder (or
            what the variable `KERAS_SHARE_STORAGE` says), the URL of a database
            (`"postgresql://..."`), or a storage of `optuna.storages`.
        max_bytes: The most that an exported file may have. Candidates that are larger
            are avoided, and rejected before they are trained: their status is
            `"REJECTED"`, and they don't count as trials.
        max_latency: The same for the time of a run in LiteRT, in milliseconds.
        inherit: A trained model, or the path to a `.keras` file of one, usually without
            sharing: each trial starts from the means of its weights.
        pruning: Stops hopeless trials early: `"median"`, `"halving"`, or a pruner of
            `optuna.pruners`; see `FairPruner` for several objectives. Their status is
            `"PRUNED"`.
        export: Keyword arguments of `keras_share.export_tflite`, which gives each
            trial its `exported_bytes`. None exports nothing.
        measure: Optional function from a built model to a dictionary of numbers:
            further columns of the leaderboard. Less is better in them.
        keep_checkpoints: Only the weights of so many best trials stay on disk, and of
            several objectives those of as many on the front; None keeps all.
        on_change: `"refuse"` to end with an error where a search goes on with another
            search space, objective, code of the hypermodel, budget, `export`,
            `inherit`, `executions_per_trial` or plain argument of `search` than it
            began with; `"continue"` to go on with the new ones.
        trials_per_process: `search` returns after this many trials of this process,
            and goes on in the next that runs the same script. TensorFlow keeps about
            11 MB per trial until its process ends.
        **kwargs: `seed`, `directory`, `project_name`, `overwrite`, and what else
            `keras_tuner.RandomSearch` takes.

    Raises:
        TypeError: If `export` or `measure` is of another type.
        ValueError: If an argument is none of these.
        OSError: If the folder of the project can't be made.

    Example:
    ```python
    tuner = SharingSearch(
        build, ["val_accuracy", "exported_bytes"], max_trials=30, directory="runs"
    )
    tuner.search(x, y, validation_split=0.2, epochs=5)
    print(tuner.pareto_front())
    ```
    """

    oracle: SharingOracle
    hypermodel: kt.HyperModel | None

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_trials: int | None = 10,
        policy: Any = "surrogate",
        earlier: Any = None,
        storage: Any = None,
        max_bytes: float | None = None,
        max_latency: float | None = None,
        inherit: Any = None,
        pruning: Any = None,
        export: Mapping[str, Any] | None = DYNAMIC,
        measure: Measure | None = None,
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
        if "KERASTUNER_ORACLE_IP" in os.environ:
            raise ValueError(
                "SharingSearch has no chief: start the same script on each machine "
                "with the same `storage`. Received: the variable KERASTUNER_ORACLE_IP, "
                "which makes a process ask one. Unset it."
            )
        self.export = export
        self.measure = measure
        self.keep_checkpoints = keep_checkpoints
        self.on_change = on_change
        self.trials_per_process = trials_per_process
        self.inherit = check_donor(inherit)
        self.run: Running | None = None  # the trial that runs here
        self.is_over = False
        self.progress = Display({"": "min"})
        self.distribution = keras.distribution.distribution()
        self._trials_run = 0
        several = objectives.get(objective)
        executions = kwargs.get("executions_per_trial", 1)
        oracle = SharingOracle(
            objective,
            max_trials,
            policy,
            budget.limits(max_bytes, max_latency),
            () if earlier is None else observations(earlier, several),
            storage=storage,
            pruning=read_pruning(pruning, several, executions),
            **{name: kwargs.pop(name) for name in _OF_ORACLE if name in kwargs},
        )
        folder = Path(
            kwargs.get("directory") or ".",
            kwargs.get("project_name") or "untitled_project",
        )
        make_folder(folder)
        if kwargs.pop("overwrite", False) and WORKER not in os.environ:
            delete_project(folder, storage)
        self._space = kt.HyperParameters()
        super().__init__(oracle, hypermodel, **kwargs)
        self.tuner_id = os.environ.get(WORKER, f"tuner-{os.getpid()}")
        self._code = code_of(self.hypermodel)
        if self.hypermodel is not None:
            self.hypermodel = ObservedHyperModel(self.hypermodel, self)
        elif type(self).run_trial is SharingSearch.run_trial:
            raise ValueError(
                "`hypermodel` must be a function from hyperparameters to a model, or a "
                "`keras_tuner.HyperModel`, unless a subclass has its own `run_trial`. "
                "Received: hypermodel=None"
            )

    @property
    def results(self) -> SearchResults:
        """The `SearchResults` of all trials that have ended, of all processes."""
        return SearchResults(self.oracle.project.records(), self.oracle.objectives)

    def leaderboard(self) -> pd.DataFrame:
        """All trials, best first. See `SearchResults.leaderboard`."""
        return self.results.leaderboard()

    def pareto_front(self, *columns: str) -> pd.DataFrame:
        """The trials that no other beats. See `SearchResults.pareto_front`."""
        return self.results.pareto_front(*columns)

    def recommended(self) -> Trial | None:
        """The trial to hand over; see `SharingOracle.recommended`."""
        return self.oracle.recommended()

    def search(self, *fit_args: Any, verbose: Any = "auto", **fit_kwargs: Any) -> None:
        """Searches as KerasTuner does, with a display of its own.

        Args:
            *fit_args: Arguments of `fit`, such as the data.
            verbose: `"auto"` or 1: one line per finished trial, and progress bars on a
                terminal. 2: one line per finished trial. 0: nothing. Failures are
                reported on stderr in any case.
            **fit_kwargs: Keyword arguments of `fit`.

        Raises:
            ValueError: If the search goes on with other things than it began with (see
                `on_change`), or no trial will have an objective.
            HaltedError: If `max_consecutive_failed_trials` trials in a row fail.
            ConnectionError: If the storage doesn't answer.
        """
        self.prepare(*fit_args, **fit_kwargs)
        oracle, self.is_over = self.oracle, False
        records = oracle.project.records()
        self.progress = Display(oracle.objectives, verbose, records, oracle.max_trials)
        oracle.verbose = 0
        try:
            with self.progress:
                super().search(*fit_args, **fit_kwargs)
            self.is_over = True
        except _EnoughTrialsError:
            pass
        except BaseException:
            with contextlib.suppress(OSError):  # the storage may be the reason
                oracle.release()
            raise
        finally:
            self.run = None
        oracle.check()

    def prepare(self, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Opens the study and compares what it is of with these arguments.

        It is a ValueError if it is of something else.
        """
        settings = {
            "export": self.export,
            "inherit": self.inherit,
            "executions_per_trial": self.executions_per_trial,
            **{f"limit of {name}": most for name, most in self.oracle.limits.items()},
        }
        plain = {f"argument {i}": value for i, value in enumerate(fit_args)}
        now = identity(self._space, self._code, settings, {**plain, **fit_kwargs})
        changed = agree(self.oracle.project, now, self.on_change)
        self.oracle.begin(self._space if changed else None)

    def save(self) -> None:
        """The study has everything already."""

    reload = save

    def pre_create_trial(self) -> None:
        """Ends the search once this process has run `trials_per_process` trials."""
        super().pre_create_trial()
        if self._trials_run == self.trials_per_process:
            raise _EnoughTrialsError

    def on_trial_begin(self, trial: Trial) -> None:
        """Shows that a trial begins."""
        super().on_trial_begin(trial)
        self.run = self.oracle.running[trial.trial_id]
        self.show()

    def show(self, epoch: int = 0, epochs: int | None = None) -> None:
        """Shows how far the trial is that runs."""
        if self.run is not None:
            said = f"trial {self.run.trial.trial_id}  {self.run.pattern}".rstrip()
            self.progress.runs(said, epoch, epochs)

    def run_trial(self, trial: Trial, *fit_args: Any, **fit_kwargs: Any) -> Any:
        """Runs a trial; one that is rejected ends here, without training."""
        try:
            return super().run_trial(trial, *fit_args, **fit_kwargs)
        except TrialRejected as rejection:
            # Here, because KerasTuner would print its traceback.
            run = self.oracle.running[trial.trial_id]
            run.stopped, run.is_rejected = str(rejection), True
            return {self.oracle.objective.name: float("nan")}

    def on_trial_end(self, trial: Trial) -> None:
        """Ends a trial."""
        self.run = None
        self.progress.rests()
        self._trials_run += 1
        super().on_trial_end(trial)
        records = self.results.records
        for record in records:
            if record.trial_id not in self.progress.records:
                self.progress.ended(record)  # also of other processes
        if self.keep_checkpoints is not None:
            kept = checkpoints.best(
                records, self.oracle.objectives, self.keep_checkpoints
            )
            ended = self.oracle.project.ended()
            checkpoints.remove(self.project_dir, ended, kept)

    def load_model(self, trial: Trial) -> keras.Model:
        """Loads the model of a trial with the weights of its best epoch.

        Raises:
            FileNotFoundError: If its weights were removed or are on another machine.
        """
        if not checkpoints.of(self.project_dir, trial.trial_id):
            raise FileNotFoundError(
                "A model can be loaded from one of the best `keep_checkpoints` "
                f"({self.keep_checkpoints}) trials that this machine has run. Received:"
                f" trial {trial.trial_id}, whose weights are not in "
                f"{self.project_dir!r}. Train it anew with "
                "`tuner.hypermodel.build(trial.hyperparameters)`, or search with a "
                "larger `keep_checkpoints`."
            )
        return super().load_model(trial)

    def _populate_initial_space(self) -> None:
        # Private to KerasTuner, which keeps it for others to override.
        super()._populate_initial_space()
        self._space = self.oracle.get_space()


_OF_ORACLE = (
    "seed",
    "hyperparameters",
    "allow_new_entries",
    "tune_new_entries",
    "max_retries_per_trial",
    "max_consecutive_failed_trials",
)
