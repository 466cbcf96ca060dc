"""The mixin that makes a KerasTuner tuner record, measure and show its trials."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import keras_tuner as kt
import pandas as pd
from keras_tuner.engine.trial import Trial, TrialStatus

from . import rows
from .progress import EpochCallback, SilentProgress, display
from .results import SearchResults
from .space import patterns_of

Measure = Callable[[keras.Model], Mapping[str, float]]

DYNAMIC = MappingProxyType({"quantization": "dynamic"})


class Recording:
    """Mixin for a `keras_tuner.Tuner`: records, measures and shows every trial.

    Put it before the tuner: `class MySearch(Recording, keras_tuner.Tuner)`. Each trial
    that ends leaves one row in `<project_dir>/results`. Results are always read from
    there, so they outlive the process and cover all workers of the project.

    Args:
        *args: Arguments of the tuner.
        export: Keyword arguments of `keras_share.export_tflite`, which measures the
            column `exported_bytes`; None to export nothing.
        measure: Optional function from a built model to further columns of the
            leaderboard, as a dictionary of numbers. Less is better in them.
        **kwargs: Keyword arguments of the tuner.

    Raises:
        TypeError: If `export` or `measure` is of another type.
    """

    def __init__(
        self,
        *args: Any,
        export: Mapping[str, Any] | None = DYNAMIC,
        measure: Measure | None = None,
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
        self._running: _Running | None = None
        self._progress = SilentProgress()
        super().__init__(*args, **kwargs)
        if self.hypermodel is not None:
            self.hypermodel = _ObservedHyperModel(self.hypermodel, self)

    @property
    def results(self) -> SearchResults:
        """The `SearchResults` of all trials that have ended, earlier runs included."""
        objective = self.oracle.objective
        return SearchResults(
            rows.read(self.project_dir), objective.name, objective.direction
        )

    def leaderboard(self) -> pd.DataFrame:
        """All trials, best first. See `SearchResults.leaderboard`."""
        return self.results.leaderboard()

    def pareto_front(
        self, x: str = "exported_bytes", y: str | None = None
    ) -> pd.DataFrame:
        """The trials that no other beats. See `SearchResults.pareto_front`."""
        return self.results.pareto_front(x, y)

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
        """
        earlier = rows.read(self.project_dir)
        self._progress = display(verbose, earlier, self.oracle.max_trials)
        self.oracle.verbose = 0
        try:
            with self._progress:
                super().search(*fit_args, **fit_kwargs)
        finally:
            self._running = None

    def on_trial_begin(self, trial: Trial) -> None:
        """Starts the clock of a trial."""
        super().on_trial_begin(trial)
        self._running = _Running()
        self._progress.on_trial(trial.trial_id)

    def on_trial_end(self, trial: Trial) -> None:
        """Ends a trial and writes its row."""
        running, self._running = self._running, None
        running.seconds = time.perf_counter() - running.started
        if trial.status == TrialStatus.COMPLETED:
            trial.message = None  # of an earlier, failed attempt
        try:
            super().on_trial_end(trial)
        finally:
            # Only the oracle scores a trial, finds a NaN, or gives up a trial that
            # failed too often; and it raises after several failures in a row.
            row = self._row(trial, running)
            if row["status"] != TrialStatus.COMPLETED:
                _report_failure(row)
            rows.write(self.project_dir, row)
            self._progress.on_row(row)

    def _row(self, trial: Trial, running: "_Running") -> rows.Row:
        ended = self.oracle.get_trial(trial.trial_id)
        failed = ended.status != TrialStatus.COMPLETED
        scored = not failed and ended.score is not None
        objective = self.oracle.objective
        patterns = patterns_of(trial.hyperparameters)
        message = trial.message
        if message is None and failed:
            message = f"{objective.name} is NaN"
        return {
            "trial_id": trial.trial_id,
            "status": ended.status,
            "pattern": _format_patterns(patterns),
            "num_groups": sum(p.num_groups for p in patterns.values()) or None,
            "parameters": running.parameters,
            "objective": objective.name,
            "direction": objective.direction,
            "score": float(ended.score) if scored else None,
            "metrics": {
                name: {
                    "value": float(history.get_best_value()),
                    "direction": history.direction,
                }
                for name, history in ended.metrics.metrics.items()
                if scored
            },
            "measures": running.measures or {},
            "seconds": running.seconds,
            "hyperparameters": dict(trial.hyperparameters.values),
            "message": message,
        }

    def _on_build(self, hp: kt.HyperParameters, model: keras.Model) -> None:
        """The model of the running trial is there, perhaps without variables yet."""
        self._progress.on_pattern(_format_patterns(patterns_of(hp)))
        if isinstance(model, keras.Model) and model.built:
            self._running.parameters = model.count_params()

    def _on_variables(self, model: keras.Model) -> None:
        """The running trial has a model with variables: measures it, once.

        What is measured depends on the pattern and not on the values of the weights.
        So it is done before training, where a model that can't be exported fails its
        trial at no cost, and after it only for a model that `fit` had to build.
        """
        if self._running.measures is not None:
            return
        self._running.parameters = model.count_params()
        measures = {}
        if self.export is not None:
            measures["exported_bytes"] = _exported_bytes(model, self.export)
        if self.measure is not None:
            measures.update(self.measure(model))
        self._running.measures = {
            name: value if isinstance(value, int) else float(value)
            for name, value in measures.items()
        }


@dataclass
class _Running:
    """What is known of the running trial, apart from KerasTuner's `Trial`."""

    started: float = field(default_factory=time.perf_counter)
    seconds: float | None = None
    parameters: int | None = None
    measures: dict[str, float] | None = None


class _ObservedHyperModel(kt.HyperModel):
    """The user's hypermodel; during a trial the tuner sees each model it builds."""

    def __init__(self, hypermodel: kt.HyperModel, tuner: Recording):
        self._hypermodel = hypermodel
        self._tuner = tuner
        super().__init__(name=getattr(hypermodel, "name", None))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hypermodel, name)

    def build(self, hp: kt.HyperParameters) -> keras.Model:
        model = self._hypermodel.build(hp)
        if self._tuner._running is not None:
            self._tuner._on_build(hp, model)
        return model

    def declare_hyperparameters(self, hp: kt.HyperParameters) -> None:
        self._hypermodel.declare_hyperparameters(hp)

    def fit(
        self, hp: kt.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any
    ) -> Any:
        tuner = self._tuner
        if tuner._running is None:
            return self._hypermodel.fit(hp, model, *args, **kwargs)
        if model.built:
            tuner._on_variables(model)
        # Added here and not in `search`, where KerasTuner would deep-copy it.
        callbacks = [*kwargs.pop("callbacks", []), EpochCallback(tuner._progress)]
        with _keras_is_quiet():
            result = self._hypermodel.fit(
                hp, model, *args, callbacks=callbacks, **kwargs
            )
        tuner._on_variables(model)
        return result


@contextmanager
def _keras_is_quiet() -> Iterator[None]:
    """Keeps Keras's own output of `fit` from stdout.

    The argument `verbose` can't: a user's `HyperModel.fit` may not take it, or pass
    its own. To be entered anew for each `fit`, as `clear_session` resets it.
    """
    interactive = keras.config.is_interactive_logging_enabled()
    keras.config.disable_interactive_logging()
    try:
        yield
    finally:
        if interactive:
            keras.config.enable_interactive_logging()


def _exported_bytes(model: keras.Model, options: Mapping[str, Any]) -> int:
    from keras_share import export_tflite

    # For their size: a rolled file has about the same and takes longer to make, and
    # weights that come apart are a result of the trial.
    options = {"target": "accelerator", "strict": False, **options}
    with tempfile.TemporaryDirectory() as folder:
        return export_tflite(model, Path(folder, "model.tflite"), **options).file_bytes


def _format_patterns(patterns: Mapping[str, Any]) -> str:
    """`ABAB`, or `attention=AABB ffn=AAAA` where a model has several patterns."""
    if len(patterns) == 1:
        return str(*patterns.values())
    return " ".join(f"{name}={pattern}" for name, pattern in patterns.items())


def _report_failure(row: rows.Row) -> None:
    # KerasTuner has printed the traceback of an exception just before, without a word
    # about the trial. (A test fails once it no longer does.)
    reason = row["message"].strip().splitlines()[-1]
    print(
        f"Trial {row['trial_id']} failed: {reason}\n"
        f"  pattern: {row['pattern'] or 'unknown'}\n"
        f"  hyperparameters: {row['hyperparameters']}",
        file=sys.stderr,
    )
