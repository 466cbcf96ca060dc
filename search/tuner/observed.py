"""What a tuner sees of the model of each trial: its pattern and its measures."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner as kt
import numpy as np

from keras_share.search.display.progress import SilentProgress
from keras_share.search.project.record import format_patterns
from keras_share.search.space.sharing_pattern import patterns_of
from keras_share.search.trial import budget
from keras_share.search.trial.inheritance import inherit
from keras_share.search.trial.measures import measure_file
from keras_share.search.trial.outcomes import PRUNED, mark
from keras_share.search.tuner.pruned import ReportEpochs

if TYPE_CHECKING:
    from keras_share.search.tuner.recording import Recording

Measure = Callable[[keras.Model], Mapping[str, float]]


@dataclass
class TrialNotes:
    """What is noted of a running trial, apart from KerasTuner's `Trial`.

    `pruned` and `rejected` say why it was ended, if it was.
    """

    trial_id: str
    started: float = field(default_factory=time.time)
    parameters: int | None = None
    measures: dict[str, float] | None = None
    pruned: str | None = None
    rejected: str | None = None

    def values(self) -> dict[str, float]:
        """What the oracle is told beside the metrics of `fit`."""
        known = {} if self.parameters is None else {"parameters": self.parameters}
        return {
            **known,
            **(self.measures or {}),
            **(mark(PRUNED) if self.pruned else {}),
        }


class ObservedHyperModel(kt.HyperModel):
    """The user's hypermodel; during a trial the tuner sees each model it builds."""

    def __init__(self, hypermodel: kt.HyperModel, tuner: "Recording"):
        self._hypermodel = hypermodel
        self._tuner = tuner
        super().__init__(name=getattr(hypermodel, "name", None))

    def __getattr__(self, name: str) -> Any:
        if name == "_hypermodel":  # not set yet in a copy that is being made
            raise AttributeError(name)
        return getattr(self._hypermodel, name)

    def build(self, hp: kt.HyperParameters) -> keras.Model:
        """Builds the user's model and names its pattern in the display."""
        model = self._hypermodel.build(hp)
        running = self._tuner._running
        if running is not None:
            self._tuner._progress.on_pattern(format_patterns(patterns_of(hp)))
            if isinstance(model, keras.Model) and model.built:
                running.parameters = model.count_params()
            if self._tuner.inherit is not None:
                # Here and not in `fit`: Hyperband then loads what it continues.
                inherit(model, self._tuner.inherit)
        return model

    def declare_hyperparameters(self, hp: kt.HyperParameters) -> None:
        """As the user's."""
        self._hypermodel.declare_hyperparameters(hp)

    def fit(
        self, hp: kt.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any
    ) -> Any:
        """Fits as the user's; the result has the measures of the model as well."""
        tuner, running = self._tuner, self._tuner._running
        if running is None:
            return self._hypermodel.fit(hp, model, *args, **kwargs)
        if model.built:
            self._measure(model, running)
        # Added here and not in `search`, where KerasTuner would deep-copy it.
        callbacks = [*kwargs.pop("callbacks", []), EpochCallback(tuner._progress)]
        report = None
        if tuner.pruning is not None:
            report = ReportEpochs(tuner.oracle, running.trial_id, running.values())
            callbacks.append(report)
        with _keras_is_quiet():
            result = self._hypermodel.fit(
                hp, model, *args, callbacks=callbacks, **kwargs
            )
        if report is not None and report.pruned_after:
            running.pruned = f"pruned after epoch {report.pruned_after}"
        self._measure(model, running)
        result = _with_values(result, running.values(), tuner.oracle.objective.name)
        _check_objectives(result, [one.name for one in tuner._objectives])
        return result

    def _measure(self, model: keras.Model, running: TrialNotes) -> None:
        """Measures the model of a trial, once.

        What is measured depends on the pattern and not on the values of the weights.
        So it is done before training, where a model that can't be exported fails its
        trial at no cost, and after it only for a model that `fit` had to build.
        """
        tuner = self._tuner
        if running.measures is not None:
            return
        running.parameters = model.count_params()
        measures = {}
        if tuner.export is not None:
            measures.update(measure_file(model, tuner.export, tuner.measured))
        if tuner.measure is not None:
            measures.update(tuner.measure(model))
        running.measures = {
            name: value if isinstance(value, int) else float(value)
            for name, value in measures.items()
        }
        budget.check(running.measures, tuner.limits)


class EpochCallback(keras.callbacks.Callback):
    """Tells a display which epoch a model is in."""

    def __init__(self, progress: SilentProgress):
        super().__init__()
        self.progress = progress

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts at none of the epochs."""
        self.progress.on_epoch(0, self.params.get("epochs"))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Counts the epoch."""
        self.progress.on_epoch(epoch + 1, self.params.get("epochs"))


def _with_values(result: Any, values: Mapping[str, float], objective: str) -> Any:
    """The result of `fit` with further metrics, in any form KerasTuner reads."""
    if isinstance(result, keras.callbacks.History):
        epochs = len(result.epoch)
        result.history.update({name: [v] * epochs for name, v in values.items()})
    elif isinstance(result, Mapping):
        result = {**result, **values}
    elif isinstance(result, list):
        result = [_with_values(one, values, objective) for one in result]
    elif isinstance(result, (int, float, np.floating)):
        result = {objective: float(result), **values}
    return result  # of anything else KerasTuner says that it can't read it


def _check_objectives(result: Any, objectives: Sequence[str]) -> None:
    """Ends a search that could never score a trial in all of its objectives."""
    if isinstance(result, keras.callbacks.History):
        result = result.history
    if not isinstance(result, Mapping):
        return
    # KerasTuner itself complains of the first.
    missing = [name for name in objectives[1:] if name not in result]
    if missing:
        raise kt.errors.FatalValueError(
            "Each objective must be a metric of `fit`, or a measure of what the tuner "
            f"exports (`export`) or `measure` returns. Received: no {missing} among "
            f"{sorted(result)}"
        )


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
