"""A trial that runs in this process, and how it ends."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import TrialState

from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.project.record import MEASURES, MESSAGE, REJECTED


@dataclass
class Running:
    """A trial that runs here, and what its model and its training told."""

    trial: Trial  # with the metrics of its training
    pattern: str = ""
    numbers: dict[str, float] = field(default_factory=dict)  # of its model
    is_measured: bool = False  # the model may have to be built by `fit`
    stopped: str | None = None  # why it ends early
    is_rejected: bool = False  # before it was trained
    runs: int = 0
    is_to_be_retried: bool = False

    def note(
        self, parameters: int, measures: Mapping[str, float] | None = None
    ) -> None:
        """Notes what is known of the model; None for measures that are to come."""
        self.is_measured = measures is not None
        self.numbers = {"parameters": parameters, **(measures or {})}

    def outcome(
        self, ended: Trial, objectives: Iterable[str]
    ) -> tuple[TrialState, list[float] | None, dict[str, Any]]:
        """How the trial ended, as KerasTuner hands it back.

        Its state, objectives and attributes in the study.
        """
        metrics = self.trial.metrics.metrics
        numbers = {n: float(m.get_best_value()) for n, m in metrics.items()}
        numbers |= self.numbers
        named = {name: numbers.get(name, math.nan) for name in objectives}
        missing = [name for name, value in named.items() if math.isnan(value)]
        state, message = TrialState.FAIL, ended.message or "unknown"
        if self.stopped is not None:
            state, message = TrialState.PRUNED, self.stopped
        elif ended.status == TrialStatus.COMPLETED and missing:
            message = f"{', '.join(missing)} is NaN"
        elif ended.status == TrialStatus.COMPLETED:
            state, message = TrialState.COMPLETE, None
        values = None if missing else list(named.values())
        if state == TrialState.FAIL or self.is_rejected:
            numbers, values = self.numbers, None
        attributes: dict[str, Any] = {**numbers, MEASURES: [*self.numbers]}
        if self.is_rejected:
            attributes[REJECTED] = True
        if message is not None:
            attributes[MESSAGE] = message[-20_000:]
        return state, values, attributes
