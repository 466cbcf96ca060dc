"""What a tuner sees of the model of each trial: its pattern and its measures."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner as kt
import numpy as np

from keras_share.search.engine import TrialStatus
from keras_share.search.project.record import format_patterns
from keras_share.search.space.sharing_pattern import patterns_of
from keras_share.search.trial import budget, objectives
from keras_share.search.trial.inheritance import inherit
from keras_share.search.trial.measures import MEASURES, measure_file
from keras_share.search.tuner.running import Running

if TYPE_CHECKING:
    from keras_share.search.tuner.sharing_search import SharingSearch

Measure = Callable[[keras.Model], Mapping[str, float]]


class ObservedHyperModel(kt.HyperModel):
    """The user's hypermodel; during a trial the tuner sees each model it builds."""

    def __init__(self, hypermodel: kt.HyperModel, tuner: "SharingSearch"):
        self._hypermodel = hypermodel
        self._tuner = tuner
        super().__init__(name=getattr(hypermodel, "name", None))

    def __getattr__(self, name: str) -> Any:
        if name == "_hypermodel":  # not set yet in a copy that is being made
            raise AttributeError(name)
        return getattr(self._hypermodel, name)

    def build(self, hp: kt.HyperParameters) -> keras.Model:
        """Builds the user's model and names its pattern in the display."""
        tuner, run = self._tuner, self._tuner.run
        if tuner.distribution is not None:
            # KerasTuner has cleared the global state of Keras, and this with it.
            keras.distribution.set_distribution(tuner.distribution)
        model = self._hypermodel.build(hp)
        if run is not None:
            run.pattern = format_patterns(patterns_of(hp))
            tuner.show()
            is_built = isinstance(model, keras.Model) and model.built
            if is_built and not run.is_measured:  # by an earlier execution
                run.note(model.count_params())
            if tuner.inherit is not None:
                inherit(model, tuner.inherit)
        return model

    def declare_hyperparameters(self, hp: kt.HyperParameters) -> None:
        """As the user's."""
        self._hypermodel.declare_hyperparameters(hp)

    def fit(
        self, hp: kt.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any
    ) -> Any:
        """Fits as the user's, and measures the model."""
        tuner, run = self._tuner, self._tuner.run
        if run is None:
            return self._hypermodel.fit(hp, model, *args, **kwargs)
        # What is measured depends on the pattern and not on the values of weights. So
        # a model that can't be exported fails its trial at no cost; only one that
        # `fit` has to build is measured after it.
        if model.built:
            _measure(model, tuner, run)
        # Added here and not in `search`, where KerasTuner would deep-copy it.
        report = ReportEpochs(
            tuner,
            run,
            # Of a user's own `fit` only the result tells what it measures.
            checks=type(self._hypermodel).fit is kt.HyperModel.fit,
            every=kwargs.get("validation_freq", 1) == 1,
        )
        callbacks = [*kwargs.pop("callbacks", []), report]
        with _keras_is_quiet():
            result = self._hypermodel.fit(
                hp, model, *args, callbacks=callbacks, **kwargs
            )
        _measure(model, tuner, run)
        metrics = getattr(result, "history", result)
        if isinstance(metrics, Mapping):
            _check_objectives(tuner, run, metrics)
        if isinstance(result, keras.callbacks.History):
            return _of_best_epoch(result, tuner.oracle.objective)
        return result


class ReportEpochs(keras.callbacks.Callback):
    """Reports each epoch of a trial, and stops training if told to.

    With `checks` an epoch must have the objectives that are metrics, if every epoch is
    validated.
    """

    def __init__(self, tuner: "SharingSearch", run: Running, checks: bool, every: bool):
        super().__init__()
        self._tuner = tuner
        self._run = run
        self._checks = checks
        self._every = every

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Starts at none of the epochs."""
        self._tuner.show(0, self.params.get("epochs"))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Reports an epoch in which the first objective was computed."""
        tuner, epochs = self._tuner, self.params.get("epochs") or epoch + 1
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        tuner.show(epoch + 1, epochs)
        is_validated = any(name.startswith("val_") for name in numbers)
        if self._checks and (self._every or is_validated or epoch + 1 >= epochs):
            _check_objectives(tuner, self._run, numbers)
        if tuner.oracle.objective.name in numbers:
            trial_id = self._run.trial.trial_id
            told = tuner.oracle.report(trial_id, epoch, epochs, numbers)
            if told == TrialStatus.STOPPED:
                self._run.stopped = f"pruned after epoch {epoch + 1}"
                self.model.stop_training = True


def _measure(model: keras.Model, tuner: "SharingSearch", run: Running) -> None:
    """Measures a model once, and rejects its trial if it exceeds a limit."""
    if run.is_measured:
        return
    measures: dict[str, float] = {}
    if tuner.export is not None:
        wanted = {*tuner.oracle.limits, *tuner.oracle.objectives}
        measures.update(measure_file(model, tuner.export, wanted))
    if tuner.measure is not None:
        measures.update(tuner.measure(model))
    measures = {
        name: value if isinstance(value, int) else float(value)
        for name, value in measures.items()
    }
    run.note(model.count_params(), measures)
    budget.check(measures, tuner.oracle.limits)


def _check_objectives(
    tuner: "SharingSearch", run: Running, metrics: Iterable[str]
) -> None:
    """Ends a search whose objectives no trial will have."""
    known = {*metrics, *run.numbers}
    to_come = () if run.is_measured else MEASURES  # of a model that `fit` builds
    names = [name for name in tuner.oracle.objectives if name not in to_come]
    missing = [name for name in names if name not in known]
    if missing and (run.is_measured or tuner.measure is None):
        raise kt.errors.FatalValueError(objectives.unknown(missing, known))


def _of_best_epoch(result: Any, objective: kt.Objective) -> Any:
    """The metrics of the best epoch, where not every epoch was validated.

    KerasTuner reads only histories in which each epoch has each metric.
    """
    history = result.history
    values = history.get(objective.name, ())
    if {len(one) for one in history.values()} <= {len(values)} or not values:
        return result
    best = (np.argmax if objective.direction == "max" else np.argmin)(values)
    share = (best + 1) / len(values)
    return {name: v[math.ceil(share * len(v)) - 1] for name, v in history.items()}


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
