"""The trials of a study as KerasTuner and as a policy see them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras_tuner as kt
from optuna.trial import FrozenTrial

from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.policies import Observation, Problem, ValueSpace
from keras_share.search.project.record import record_of
from keras_share.search.sampler import observation
from keras_share.search.trial import objectives
from keras_share.search.trial.measures import STATIC
from keras_share.search.tuner.hyperparameters import (
    value_space,
    with_metrics,
    with_values,
)

if TYPE_CHECKING:
    from keras_share.search.tuner.oracle import SharingOracle


class View:
    """Trials of a study of one search; for a policy those that ended are read once."""

    def __init__(self, oracle: "SharingOracle"):
        self._oracle = oracle
        self._ended: dict[int, Observation] = {}

    def forget(self) -> None:
        """Reads all anew, as what may be tried has changed."""
        self._ended.clear()

    def direction(self, metric: str) -> str:
        """`"max"` or `"min"`, whichever is better in a metric or measure."""
        known = self._oracle.objectives
        return known.get(metric) or objectives.direction(metric)

    def trial(self, space: kt.HyperParameters, frozen: FrozenTrial) -> Trial:
        """A trial of the study as KerasTuner sees it."""
        hp = with_values(space, frozen.params)
        trial = Trial(hp, str(frozen.number), TrialStatus.RUNNING)
        if not frozen.state.is_finished():
            return trial
        record = record_of(frozen, self._oracle.objectives)
        completed = record.status == "COMPLETED"
        trial.status = TrialStatus.COMPLETED if completed else TrialStatus.FAILED
        trial.score, trial.message, trial.best_step = record.score, record.message, 0
        return with_metrics(trial, record.numbers, self.direction)

    def problem(self, trials: Sequence[FrozenTrial]) -> Problem:
        """The search so far as a policy sees it, with all trials in order."""
        oracle = self._oracle
        space = value_space(oracle.hyperparameters.space)
        sizes = [i for i, name in enumerate(oracle.objectives) if name in STATIC]
        known = [self._observation(space, trial) for trial in trials]
        return Problem(
            space,
            [*oracle.earlier, *known],
            len(oracle.objectives),
            oracle.limits,
            [*sizes, *oracle.limits],
        )

    def _observation(self, space: ValueSpace, trial: FrozenTrial) -> Observation:
        if trial.number not in self._ended:
            found, oracle = trial.user_attrs, self._oracle
            measures = {name: found[name] for name in oracle.limits if name in found}
            point = space.read(trial.params, found)
            signs = objectives.signs(oracle.objectives)
            seen = observation(trial, point, signs, measures)
            if not trial.state.is_finished():
                return seen
            self._ended[trial.number] = seen
        return self._ended[trial.number]
