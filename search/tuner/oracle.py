"""`SharingOracle`: KerasTuner's side of a study of Optuna."""

import math
import time
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import keras_tuner as kt
import optuna
from optuna.trial import FrozenTrial, TrialState

from keras_share.search import policies
from keras_share.search.engine import Trial, TrialStatus, seed_of
from keras_share.search.policies import Observation, Problem
from keras_share.search.project.record import WORKER, counted
from keras_share.search.project.study import Project, TakenError
from keras_share.search.sampler import observation
from keras_share.search.space.numbering import told_patterns
from keras_share.search.trial import objectives
from keras_share.search.trial.measures import STATIC
from keras_share.search.trial.pruning import PLANNED
from keras_share.search.tuner import halting
from keras_share.search.tuner.hyperparameters import (
    distributions,
    shown,
    value_space,
    with_metrics,
    with_values,
)
from keras_share.search.tuner.running import Running

SPACE = "hyperparameters"  # the note that tells others of a space that grew
_WAIT = 0.5  # seconds before it is asked again


class SharingOracle(kt.Oracle):
    """An oracle that knows what a sharing pattern is, and keeps trials in a study.

    It may take the place of any other oracle: `keras_tuner.Tuner(SharingOracle(...))`.
    `keras_share.search.SharingSearch` is the tuner around it, and has its arguments;
    `limits` are the most that measures may be, by name. Every process that has one of
    the same project takes part in the search, and none of them leads it.

    No two trials train the same model. What is proposed depends on the seed, on the
    number of the trial and on what is known by then, and on nothing else: a search by
    one process that was interrupted goes on as if it had not been.

    Raises:
        ValueError: If an argument is none of these.

    Example:
    ```python
    oracle = SharingOracle(["val_accuracy", "exported_bytes"], max_trials=30, seed=1)
    tuner = keras_tuner.Tuner(oracle, build, directory="runs")
    ```
    """

    max_consecutive_failed_trials: int | None

    def __init__(
        self,
        objective: Any = None,
        max_trials: int | None = 10,
        policy: Any = "surrogate",
        limits: Mapping[str, float] | None = None,
        earlier: Sequence[Observation] = (),
        seed: int | None = None,
        storage: Any = None,
        pruning: optuna.pruners.BasePruner | None = None,
        **kwargs: Any,
    ):
        is_count = isinstance(max_trials, Integral) and max_trials > 0
        if max_trials is not None and not is_count:
            raise ValueError(
                "`max_trials` must be an integer of at least 1, or None for no limit. "
                f"Received: max_trials={max_trials!r}"
            )
        self.objectives = objectives.get(objective)
        self.policy = policies.get(policy)
        self.limits = dict(limits or {})
        self.earlier = list(earlier)
        self.storage = storage
        self.pruning = pruning
        self._project: Project | None = None
        self.running: dict[str, Running] = {}  # in this process, by id
        self._before: set[str] = set()  # ids of trials of earlier searches
        self._is_exhausted = False
        # KerasTuner would add several objectives up; it sees the first.
        main = kt.Objective(*next(iter(self.objectives.items())))
        super().__init__(main, max_trials=max_trials, seed=seed_of(seed), **kwargs)

    @property
    def project(self) -> Project:
        """The study, opened when it is first needed."""
        if self._project is None:
            self._project = Project(
                # Private to KerasTuner, which tells an oracle its folder so.
                Path(self._project_dir),
                self.storage,
                self.objectives,
                self.pruning,
            )
            self._learn_space()
        return self._project

    @property
    def trials(self) -> dict[str, Trial]:
        """All trials, as KerasTuner sees them."""
        if self._project is None:
            return {}
        return {str(t.number): self._shown(t) for t in self.project.trials()}

    @trials.setter
    def trials(self, value: dict[str, Trial]) -> None:
        """KerasTuner's own dictionary is not used."""

    def check(self, trials: Sequence[FrozenTrial] | None = None) -> None:
        """Ends a search whose trials fail one after another, by a HaltedError."""
        halting.check(
            self.project.records(trials),
            self._before,
            self.max_consecutive_failed_trials,
            self.max_trials,
            self._is_exhausted,
        )

    def begin(self, space: kt.HyperParameters | None = None) -> None:
        """Begins to search, maybe in another space: forgets earlier failures."""
        if space is not None:
            self.hyperparameters = space.copy()
            self.project.note(SPACE, None)
        self._before = {one.trial_id for one in self.project.records()}
        self._is_exhausted = False

    def create_trial(self, tuner_id: str) -> Trial:
        """Begins a trial: one whose process is gone, else a new one."""
        for running in self.running.values():
            if running.is_to_be_retried:
                running.is_to_be_retried = False
                running.trial.status = TrialStatus.RUNNING
                return running.trial
        found = None
        while found is None:
            with self.project.asking():
                found = self._next(tuner_id)
        if found.status == TrialStatus.RUNNING:
            self.running[found.trial_id] = Running(found)
        elif found.status == TrialStatus.IDLE:
            time.sleep(_WAIT)  # KerasTuner asks again at once
        return found

    def get_trial(self, trial_id: str) -> Trial:
        """A trial: that which runs here, or as the study has it."""
        running = self.running.get(trial_id)
        return self.trials[trial_id] if running is None else running.trial

    def report(
        self, trial_id: str, epoch: int, epochs: int, logs: Mapping[str, float]
    ) -> str:
        """Reports the objectives after an epoch; `"STOPPED"` if the trial is to end."""
        number, (main, *others) = int(trial_id), self.objectives
        known = {**self.running[trial_id].numbers, **logs}
        noted = {name: known[name] for name in others if name in known}
        try:
            self.project.note_trial(number, {PLANNED: epochs, **noted})
            self.project.report(number, epoch, logs[main])
            is_last = self.pruning is None or epoch + 1 >= epochs
            stops = not is_last and self.project.is_hopeless(number)
        except TakenError:
            return TrialStatus.STOPPED  # it was given to another process
        return TrialStatus.STOPPED if stops else TrialStatus.RUNNING

    def update_trial(
        self, trial_id: str, metrics: Mapping[str, float], step: int = 0
    ) -> Trial:
        """Takes the metrics of a trial that has been trained."""
        running = self.running[trial_id]
        known = {**running.numbers, **metrics}
        missing = [name for name in self.objectives if name not in known]
        if missing and running.stopped is None:
            raise kt.errors.FatalValueError(objectives.unknown(missing, known))
        # Of NaN KerasTuner would look for the best, and NumPy warn.
        metrics = {n: value for n, value in metrics.items() if not math.isnan(value)}
        return with_metrics(running.trial, metrics, self.objectives, step)

    def end_trial(self, trial: Trial) -> None:
        """Ends a trial, of which the study then has everything."""
        running = self.running[trial.trial_id]
        running.runs += 1
        self._grow(trial.hyperparameters)
        state, values, noted = running.outcome(trial, self.objectives)
        is_invalid = state == TrialState.FAIL and trial.status != TrialStatus.FAILED
        if is_invalid and running.runs <= self.max_retries_per_trial:
            running.trial.metrics = Trial(trial.hyperparameters).metrics
            running.is_to_be_retried = True
            return
        exceeded = {
            name: noted[name] - most
            for name, most in self.limits.items()
            if name in noted
        }
        number, used = int(trial.trial_id), trial.hyperparameters
        known = distributions(used.space, used.values)
        self.project.complete(number, used.values, known)
        noted |= told_patterns(used.values)
        self.project.end(number, state, values, noted, exceeded)
        del self.running[trial.trial_id]

    def release(self) -> None:
        """Gives the trials that run here back, to be run again."""
        for trial_id in self.running:
            self.project.release(int(trial_id))
        self.running = {}

    def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
        """The completed trials of the best scores."""
        sign = objectives.signs(self.objectives)[0]
        scored = [
            (record.score, record.trial_id)
            for record in self.project.records()
            if record.score is not None
        ]
        scored.sort(key=lambda pair: sign * pair[0])
        by_number = {str(one.number): one for one in self.project.trials(again=False)}
        return [self._shown(by_number[number]) for _, number in scored[:num_trials]]

    def remaining_trials(self) -> int | None:
        """How many trials there may be yet; None for no limit."""
        if not self.max_trials:
            return None
        return self.max_trials - counted(self.project.trials())

    def recommended(self) -> Trial | None:
        """The trial to hand over: the best as the policy sees it, None without one.

        With noise that is not always the one with the best score: the surrogate doubts
        a score that its neighbors don't confirm. Trials within the limits come first.
        """
        trials = self.project.trials()
        place = self.policy.recommend(self.problem(trials))
        return None if place is None else self._shown(trials[place - len(self.earlier)])

    def problem(self, trials: Sequence[FrozenTrial] | None = None) -> Problem:
        """The search so far, as a policy sees it."""
        trials = self.project.trials() if trials is None else trials
        space = value_space(self.hyperparameters.space)
        signs = objectives.signs(self.objectives)
        sizes = [i for i, name in enumerate(self.objectives) if name in STATIC]
        known = [observation(t, space, signs, self._measures(t)) for t in trials]
        return Problem(
            space,
            [*self.earlier, *known],
            len(signs),
            self.limits,
            [*sizes, *self.limits],
        )

    def save(self) -> None:
        """The study has everything already."""

    def reload(self) -> None:
        """The study has everything already."""

    def _next(self, tuner_id: str) -> Trial | None:
        """The next trial, None if another process has just begun the same."""
        lost = self.project.lost()
        trials = self.project.trials(again=False)
        self.check(trials)
        self._learn_space()
        values = self._propose(trials) if lost is None else lost.params
        if values is None:
            others = any(one.state == TrialState.RUNNING for one in trials)
            # One of them may be lost yet, or bring new hyperparameters.
            status = TrialStatus.IDLE if others else TrialStatus.STOPPED
            return Trial(self.get_space(), status=status)
        hp = with_values(self.hyperparameters, values)
        known = distributions(hp.space, hp.values)
        begun = self.project.begin(
            trials,
            {name: hp.values[name] for name in known},
            known,
            {**told_patterns(hp.values), WORKER: tuner_id},
            self.max_trials or math.inf,
            lost,
        )
        if begun is None:
            return None
        return Trial(hp, str(begun.number), TrialStatus.RUNNING)

    def _shown(self, frozen: FrozenTrial) -> Trial:
        return shown(frozen, self.hyperparameters, self.objectives)

    def _measures(self, frozen: FrozenTrial) -> dict[str, float]:
        known = frozen.user_attrs
        return {name: known[name] for name in self.limits if name in known}

    def _propose(self, trials: Sequence[FrozenTrial]) -> Mapping[str, Any] | None:
        if self.max_trials and counted(trials) >= self.max_trials:
            return None
        problem = self.problem(trials)
        point = self.policy.propose(problem, f"{self.seed}/{len(trials)}")
        self._is_exhausted = point is None
        return None if point is None else problem.space.values(point)

    def _grow(self, hyperparameters: kt.HyperParameters) -> None:
        """Tells others of hyperparameters that a trial has brought."""
        size = len(self.hyperparameters.space)
        self.update_space(hyperparameters)
        if len(self.hyperparameters.space) > size:
            with self.project.asking():
                self._learn_space()
                self.project.note(SPACE, self.hyperparameters.get_config())

    def _learn_space(self) -> None:
        """Takes over hyperparameters that others have come upon."""
        space = self.project.notes.get(SPACE)
        if space is not None and len(space["space"]) != len(self.hyperparameters.space):
            self.update_space(kt.HyperParameters.from_config(space))
