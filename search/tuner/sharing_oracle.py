"""`SharingOracle`: KerasTuner's side of the policies."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner as kt
import numpy as np

from keras_share.search import policies
from keras_share.search.engine import Trial, TrialStatus, seed_of
from keras_share.search.policies import Observation, Problem, ValueSpace
from keras_share.search.trial import objectives
from keras_share.search.trial.measures import STATIC
from keras_share.search.trial.outcomes import PRUNED, outcome_of
from keras_share.search.tuner.durable import Durable
from keras_share.search.tuner.hyperparameters import value_space
from keras_share.search.tuner.pruned import Pruned


class SharingOracle(Pruned, Durable, kt.Oracle):
    """An oracle that knows what a sharing pattern is.

    It may take the place of any other oracle: `keras_tuner.Tuner(SharingOracle(...))`,
    also as the chief of several workers. `keras_share.search.SharingSearch` is the
    tuner around it.

    No two trials train the same model. What is proposed depends on the seed, on the
    number of the trial and on what has ended, and on nothing else: a search that was
    interrupted goes on as if it had not been.

    Args:
        objective: One objective or a list, as `trial.objectives.get` reads them. Of
            several the Pareto front is sought.
        max_trials: At most this many trials, rejected ones not counted.
        policy: `"surrogate"`, `"evolution"` or `"random"`, or an object of
            `keras_share.search.policies`.
        limits: The most that a measure may be, by its name. Candidates that are
            expected to exceed one are not proposed; the tuner rejects what does.
        earlier: Observations of earlier searches, which the policy learns from; see
            `keras_share.search.project.earlier.observations`.
        seed: Seed of all random draws; None for a random one.
        hyperparameters: As of `keras_tuner.Oracle`.
        allow_new_entries: As of `keras_tuner.Oracle`.
        tune_new_entries: As of `keras_tuner.Oracle`.
        max_retries_per_trial: As of `keras_tuner.Oracle`.
        max_consecutive_failed_trials: After so many failures in a row the search ends.

    Raises:
        ValueError: If an argument is none of these.

    Example:
    ```python
    oracle = SharingOracle(["val_accuracy", "exported_bytes"], max_trials=30, seed=1)
    tuner = keras_tuner.Tuner(oracle, build, directory="runs")
    ```
    """

    def __init__(
        self,
        objective: Any = None,
        max_trials: int | None = 10,
        policy: Any = "surrogate",
        limits: Mapping[str, float] | None = None,
        earlier: Sequence[Observation] = (),
        seed: int | None = None,
        hyperparameters: kt.HyperParameters | None = None,
        allow_new_entries: bool = True,
        tune_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
    ):
        self.objectives = objectives.get(objective)
        self.policy = policies.get(policy)
        self.limits = dict(limits or {})
        self.earlier = list(earlier)
        # KerasTuner would add several objectives up; it sees the first.
        super().__init__(
            self.objectives[0],
            max_trials=max_trials,
            seed=seed_of(seed),
            hyperparameters=hyperparameters,
            allow_new_entries=allow_new_entries,
            tune_new_entries=tune_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Proposes the values of a trial."""
        problem = self.problem()
        # The width of the number changes with `max_trials`, its value does not.
        point = self.policy.propose(problem, f"{self.seed}/{int(trial_id)}")
        if point is None:
            return {"status": TrialStatus.STOPPED, "values": None}
        return {"status": TrialStatus.RUNNING, "values": problem.space.values(point)}

    def recommended(self) -> Trial | None:
        """The trial to hand over: the best as the policy sees it, None without one.

        With noise that is not always the one with the best score: the surrogate
        doubts a score that its neighbors don't confirm. Trials within the limits come
        first.
        """
        problem = self.problem()
        place = self.policy.recommend(problem)
        return None if place is None else self._trials()[place - len(self.earlier)]

    def problem(self) -> Problem:
        """The search so far, as a policy sees it."""
        space = value_space(self.hyperparameters.space)
        known = [self._observation(space, trial) for trial in self._trials()]
        sizes = [i for i, one in enumerate(self.objectives) if one.name in STATIC]
        return Problem(
            space,
            [*self.earlier, *known],
            len(self.objectives),
            self.limits,
            [*sizes, *self.limits],
        )

    def _trials(self) -> list[Trial]:
        return sorted(self.trials.values(), key=lambda trial: int(trial.trial_id))

    def _observation(self, space: ValueSpace, trial: Trial) -> Observation:
        outcome = outcome_of(trial)
        has_scores = outcome in (TrialStatus.COMPLETED, PRUNED)
        return Observation(
            space.read(trial.hyperparameters.values),
            self._scores(trial) if has_scores else None,
            {
                name: trial.metrics.get_best_value(name)
                for name in self.limits
                if trial.metrics.exists(name)
            },
            is_running=outcome == TrialStatus.RUNNING,
            is_pruned=outcome == PRUNED,
        )

    def _scores(self, trial: Trial) -> tuple[float, ...] | None:
        if not all(trial.metrics.exists(o.name) for o in self.objectives):
            return None
        # All of them as they were when the first was at its best.
        step = trial.metrics.get_best_step(self.objectives[0].name)
        values = [_value_at(trial, o.name, step) for o in self.objectives]
        signed = np.multiply(values, objectives.signs(self.objectives))
        return tuple(map(float, signed)) if np.isfinite(signed).all() else None


def _value_at(trial: Trial, name: str, step: int) -> float:
    history = trial.metrics.get_history(name)
    found = [observation.mean() for observation in history if observation.step == step]
    return found[0] if found else trial.metrics.get_best_value(name)
