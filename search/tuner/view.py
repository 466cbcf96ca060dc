"""The trials of a study as KerasTuner and as a policy see them."""

from collections.abc import Mapping, Sequence

import keras_tuner as kt
from optuna.trial import FrozenTrial

from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.policies import Observation, Problem, ValueSpace
from keras_share.search.project.record import record_of
from keras_share.search.sampler import observation
from keras_share.search.trial import objectives as reading
from keras_share.search.trial.measures import STATIC
from keras_share.search.tuner.hyperparameters import (
    value_space,
    with_metrics,
    with_values,
)


class View:
    """Trials of a study of one search; for a policy those that ended are read once.

    Args:
        objectives: Of the search.
        limits: The most that measures may be, by name.
        earlier: Observations of earlier searches.
    """

    def __init__(
        self,
        objectives: Sequence[kt.Objective],
        limits: Mapping[str, float],
        earlier: Sequence[Observation],
    ):
        self._directions = {one.name: one.direction for one in objectives}
        self._signs = reading.signs(objectives)
        self._limits = limits
        self._earlier = earlier
        self._ended: dict[int, Observation] = {}

    def forget(self) -> None:
        """Reads all anew, as what may be tried has changed."""
        self._ended.clear()

    def direction(self, metric: str) -> str:
        """`"max"` or `"min"`, whichever is better in a metric or measure."""
        return self._directions.get(metric) or reading.direction(metric)

    def trial(self, space: kt.HyperParameters, frozen: FrozenTrial) -> Trial:
        """A trial of the study as KerasTuner sees it."""
        hp = with_values(space, frozen.params)
        trial = Trial(hp, str(frozen.number), TrialStatus.RUNNING)
        if not frozen.state.is_finished():
            return trial
        record = record_of(frozen, self._directions)
        completed = record.status == "COMPLETED"
        trial.status = TrialStatus.COMPLETED if completed else TrialStatus.FAILED
        trial.score, trial.message, trial.best_step = record.score, record.message, 0
        return with_metrics(trial, record.numbers, self.direction)

    def problem(
        self, hyperparameters: kt.HyperParameters, trials: Sequence[FrozenTrial]
    ) -> Problem:
        """The search so far as a policy sees it.

        Args:
            hyperparameters: What may be tried.
            trials: All that count, in the order in which they began.
        """
        space = value_space(hyperparameters.space)
        sizes = [i for i, name in enumerate(self._directions) if name in STATIC]
        known = [self._observation(space, trial) for trial in trials]
        return Problem(
            space,
            [*self._earlier, *known],
            len(self._directions),
            self._limits,
            [*sizes, *self._limits],
        )

    def _observation(self, space: ValueSpace, trial: FrozenTrial) -> Observation:
        if trial.number not in self._ended:
            found = trial.user_attrs
            measures = {name: found[name] for name in self._limits if name in found}
            point = space.read(trial.params, found)
            seen = observation(trial, point, self._signs, measures)
            if not trial.state.is_finished():
                return seen
            self._ended[trial.number] = seen
        return self._ended[trial.number]
