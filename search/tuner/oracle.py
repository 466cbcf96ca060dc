"""`SharingOracle`: KerasTuner's side of a study of Optuna."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import keras_tuner as kt
import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from keras_share.search import policies
from keras_share.search.engine import Trial, TrialStatus, seed_of
from keras_share.search.policies import Observation, Problem, ValueSpace
from keras_share.search.project import study as attributes
from keras_share.search.project.record import TrialRecord, record_of
from keras_share.search.project.study import Project, TakenError
from keras_share.search.space.numbering import told_patterns
from keras_share.search.trial import objectives
from keras_share.search.trial.measures import STATIC
from keras_share.search.trial.pruning import PLANNED
from keras_share.search.tuner.hyperparameters import distributions, value_space
from keras_share.search.tuner.pulse import Pulse

SPACE = "hyperparameters"  # the note that tells others of a space that grew
_MOST_REJECTIONS = 10  # in a row, times `max_trials`
_WAIT = 0.5  # seconds before it is asked again


class SharingOracle(kt.Oracle):
    """An oracle that knows what a sharing pattern is, and keeps trials in a study.

    It may take the place of any other oracle: `keras_tuner.Tuner(SharingOracle(...))`.
    `keras_share.search.SharingSearch` is the tuner around it. Every process that has
    one of the same project takes part in the search, and none of them leads it.

    No two trials train the same model. What is proposed depends on the seed, on the
    number of the trial and on what is known by then, and on nothing else: a search by
    one process that was interrupted goes on as if it had not been.

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
        storage: Where the study is kept; see `SharingSearch`.
        pruning: A pruner of Optuna's, for several objectives a `PruningRule`; None to
            stop no trial.
        **kwargs: `hyperparameters`, `allow_new_entries`, `tune_new_entries`,
            `max_retries_per_trial` and `max_consecutive_failed_trials` as of
            `keras_tuner.Oracle`.

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
        self._running: dict[str, Trial] = {}
        self._again: list[Trial] = []
        self._runs: dict[str, int] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._before: set[str] = set()
        self._observed: dict[int, Observation] = {}
        self._exhausted = False
        self._pulse = Pulse(self._beat)
        # KerasTuner would add several objectives up; it sees the first.
        super().__init__(
            self.objectives[0], max_trials=max_trials, seed=seed_of(seed), **kwargs
        )

    @property
    def project(self) -> Project:
        """The study, opened when it is first needed."""
        if self._project is None:
            self._project = Project(
                # Private to KerasTuner, which tells an oracle its folder so.
                Path(self._project_dir),
                self.storage,
                {one.name: one.direction for one in self.objectives},
                self.pruning,
            )
            space = self._project.notes.get(SPACE)
            if space is not None:
                self.update_space(kt.HyperParameters.from_config(space))
        return self._project

    @property
    def trials(self) -> dict[str, Trial]:
        """All trials, as KerasTuner sees them."""
        if self._project is None:
            return {}
        return {str(t.number): self._trial(t) for t in self.project.trials()}

    @trials.setter
    def trials(self, value: dict[str, Trial]) -> None:
        """KerasTuner's own dictionary is not used."""

    @property
    def halted(self) -> str | None:
        """Why no more trials are started, None while they are."""
        return self._halted(self._records())

    def _halted(self, every: Sequence[TrialRecord]) -> str | None:
        all_rejected = self._exhausted and {r.status for r in every} == {"REJECTED"}
        new = [one for one in every if one.trial_id not in self._before]
        records = sorted(
            every if all_rejected else new, key=lambda one: one.ended or 0, reverse=True
        )
        if not records:
            return None
        failures = _first_other("FAILED", records)
        rejections = _first_other("REJECTED", records)
        most = self.max_consecutive_failed_trials
        reason = f"trial {records[0].trial_id} with: {records[0].reason or 'unknown'}"
        kept = f"All results are kept in {str(self.project.folder)!r}."
        if most and failures >= most:
            return (
                f"{failures} trials in a row failed, {reason}\n{kept} Mend the cause "
                "and start the search again: it goes on with further trials. Or raise "
                f"`max_consecutive_failed_trials` ({most})."
            )
        too_many = rejections >= _MOST_REJECTIONS * (self.max_trials or math.inf)
        if too_many or all_rejected:
            return (
                f"{rejections} trials in a row were rejected, {reason}\n{kept} Loosen "
                "the budget or enlarge the search space with smaller candidates, under "
                "another `project_name`."
            )
        return None

    def begin(self, space: kt.HyperParameters | None = None) -> None:
        """Begins to search: forgets earlier failures.

        Args:
            space: The hyperparameters, where they are others than before.
        """
        if space is not None:
            self.hyperparameters = space.copy()
            self.project.note(SPACE, None)
            self._observed.clear()
        self._before = {one.trial_id for one in self.project.records()}
        self._exhausted = False

    def create_trial(self, tuner_id: str) -> Trial:
        """Begins a trial: one whose process is gone, else a new one."""
        if self._again:
            trial = self._again.pop()
            trial.status = TrialStatus.RUNNING
            return trial
        while True:
            with self.project.asking():
                found = self._next(tuner_id)
            if found is not None:
                break
        if found.status == TrialStatus.RUNNING:
            self._running[found.trial_id] = found
            self._pulse.start(int(found.trial_id))
        elif found.status == TrialStatus.IDLE:
            time.sleep(_WAIT)  # KerasTuner asks again at once
        return found

    def get_trial(self, trial_id: str) -> Trial:
        """A trial: that which runs here, or as the study has it."""
        return self._running.get(trial_id) or self.trials[trial_id]

    def note(self, trial_id: str, **facts: Any) -> None:
        """Notes what the study is to have of a running trial beside its metrics.

        Args:
            trial_id: Of the trial.
            **facts: `measures` and `parameters` of its model, `rejected` or `pruned`
                for why it was ended.
        """
        self._facts.setdefault(trial_id, {}).update(facts)

    def known(self, trial_id: str) -> dict[str, float]:
        """What was measured of the model of a running trial."""
        return _plain(self._facts.get(trial_id, {}))

    def report(
        self, trial_id: str, epoch: int, epochs: int, logs: Mapping[str, float]
    ) -> str:
        """Reports the objectives after an epoch.

        Args:
            trial_id: Of the trial.
            epoch: Its number, the first is 0.
            epochs: How many the trial is to train.
            logs: The metrics of the epoch.

        Returns:
            `"STOPPED"` if the trial is to end, else `"RUNNING"`.
        """
        number, (main, *others) = int(trial_id), self.objectives
        known = {**self.known(trial_id), **logs}
        noted = {one.name: known[one.name] for one in others if one.name in known}
        try:
            self.project.note_trial(number, {PLANNED: epochs, **noted})
            self.project.report(number, epoch, logs[main.name])
        except TakenError:
            return TrialStatus.STOPPED  # it was given to another process
        if self.pruning is None or epoch + 1 >= epochs:
            return TrialStatus.RUNNING
        if self.project.is_hopeless(number):
            return TrialStatus.STOPPED
        return TrialStatus.RUNNING

    def update_trial(
        self, trial_id: str, metrics: Mapping[str, float], step: int = 0
    ) -> Trial:
        """Takes the metrics of a trial that has been trained."""
        trial = self._running[trial_id]
        known = {**self.known(trial_id), **metrics}
        missing = [o.name for o in self.objectives if o.name not in known]
        is_ended = {"rejected", "pruned"} & self._facts.get(trial_id, {}).keys()
        if missing and not is_ended:
            raise kt.errors.FatalValueError(unknown_objectives(missing, known))
        for name, value in metrics.items():
            if not trial.metrics.exists(name):
                trial.metrics.register(name, self._direction(name))
            trial.metrics.update(name, value, step=step)
        return trial

    def end_trial(self, trial: Trial) -> None:
        """Ends a trial, of which the study then has everything."""
        own = self._running[trial.trial_id]
        facts = self._facts.pop(trial.trial_id, {})
        runs = self._runs[trial.trial_id] = self._runs.get(trial.trial_id, 0) + 1
        self._grow(trial.hyperparameters)
        numbers = {
            **{n: float(m.get_best_value()) for n, m in own.metrics.metrics.items()},
            **_plain(facts),
        }
        values = [numbers.get(one.name, math.nan) for one in self.objectives]
        outcome = trial.status
        message = facts.get("rejected") or facts.get("pruned") or trial.message
        if "rejected" in facts or "pruned" in facts:
            outcome = TrialState.PRUNED
        elif outcome == TrialStatus.COMPLETED:
            names = [one.name for one in self.objectives]
            nan = [n for n, v in zip(names, values, strict=True) if math.isnan(v)]
            outcome, message = TrialState.COMPLETE, None
            if nan:
                outcome, message = TrialStatus.INVALID, f"{', '.join(nan)} is NaN"
        if outcome == TrialStatus.INVALID and runs <= self.max_retries_per_trial:
            own.metrics = Trial(own.hyperparameters).metrics
            self._again.append(own)
            return
        if outcome in (TrialStatus.INVALID, TrialStatus.FAILED):
            outcome, message = TrialState.FAIL, message or "unknown"
        if outcome == TrialState.FAIL or "rejected" in facts:
            numbers = _plain(facts)
        self._pulse.stop()
        self._end(trial.trial_id, outcome, values, numbers, facts, message)
        del self._running[trial.trial_id]

    def release(self) -> None:
        """Gives the trials that run here back, to be run again."""
        self._pulse.stop()
        for trial_id in self._running:
            self.project.release(int(trial_id))
        self._running, self._again = {}, []

    def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
        """The completed trials of the best scores."""
        sign = objectives.signs(self.objectives)[0]
        scored = [(r.score, r) for r in self._records() if r.score is not None]
        scored.sort(key=lambda pair: sign * pair[0])
        numbers = [int(record.trial_id) for _, record in scored[:num_trials]]
        by_number = {one.number: one for one in self.project.trials()}
        return [self._trial(by_number[number]) for number in numbers]

    def remaining_trials(self) -> int | None:
        """How many trials there may be yet; None for no limit."""
        if not self.max_trials:
            return None
        return self.max_trials - _counted(self.project.trials())

    def recommended(self) -> Trial | None:
        """The trial to hand over: the best as the policy sees it, None without one.

        With noise that is not always the one with the best score: the surrogate
        doubts a score that its neighbors don't confirm. Trials within the limits come
        first.
        """
        trials = self.project.trials()
        place = self.policy.recommend(self.problem(trials))
        return None if place is None else self._trial(trials[place - len(self.earlier)])

    def problem(self, trials: Sequence[FrozenTrial] | None = None) -> Problem:
        """The search so far, as a policy sees it."""
        trials = self.project.trials() if trials is None else trials
        space = value_space(self.hyperparameters.space)
        sizes = [i for i, one in enumerate(self.objectives) if one.name in STATIC]
        known = [self._observation(space, trial) for trial in trials]
        return Problem(
            space,
            [*self.earlier, *known],
            len(self.objectives),
            self.limits,
            [*sizes, *self.limits],
        )

    def save(self) -> None:
        """The study has everything already."""

    def reload(self) -> None:
        """The study has everything already."""

    def _beat(self, number: int, count: int) -> None:
        self.project.beat(number, count)

    def _next(self, tuner_id: str) -> Trial | None:
        """The next trial, None if another process has just begun the same."""
        lost = self.project.lost()
        trials = self.project.trials(again=False)
        if self._halted(self._records(trials)):
            return Trial(self.get_space(), status=TrialStatus.STOPPED)
        self._learn_space()
        if lost is None:
            values = self._propose(trials)
            if values is None:
                others = any(one.state == TrialState.RUNNING for one in trials)
                # One of them may be lost yet, or bring new hyperparameters.
                status = TrialStatus.IDLE if others else TrialStatus.STOPPED
                return Trial(self.get_space(), status=status)
        else:
            values = lost.params
        hp = self._hyperparameters(values)
        known = distributions(hp.space, hp.values)
        begun = self.project.begin(
            trials,
            {name: hp.values[name] for name in known},
            known,
            {**told_patterns(hp.values), attributes.WORKER: tuner_id},
            self.max_trials or math.inf,
            lost,
        )
        if begun is None:
            return None
        return Trial(hp, str(begun.number), TrialStatus.RUNNING)

    def _propose(self, trials: Sequence[FrozenTrial]) -> Mapping[str, Any] | None:
        if self.max_trials and _counted(trials) >= self.max_trials:
            return None
        problem = self.problem(trials)
        point = self.policy.propose(problem, f"{self.seed}/{len(trials)}")
        if point is None:
            self._exhausted = True
            return None
        return problem.space.values(point)

    def _hyperparameters(self, values: Mapping[str, Any]) -> kt.HyperParameters:
        hp = self.hyperparameters.copy()
        hp.values = dict(values)
        hp.ensure_active_values()  # those that are fixed
        return hp

    def _trial(self, frozen: FrozenTrial) -> Trial:
        """A trial of the study, as KerasTuner sees it."""
        hp = self._hyperparameters(frozen.params)
        trial = Trial(hp, str(frozen.number), TrialStatus.RUNNING)
        if not frozen.state.is_finished():
            return trial
        record = record_of(frozen, {o.name: o.direction for o in self.objectives})
        completed = record.status == "COMPLETED"
        trial.status = TrialStatus.COMPLETED if completed else TrialStatus.FAILED
        trial.score, trial.message, trial.best_step = record.score, record.message, 0
        for name, value in record.numbers.items():
            trial.metrics.register(name, self._direction(name))
            trial.metrics.update(name, value)
        return trial

    def _records(
        self, trials: Sequence[FrozenTrial] | None = None
    ) -> list[TrialRecord]:
        wanted = {one.name: one.direction for one in self.objectives}
        return [one.scored_by(wanted) for one in self.project.records(trials)]

    def _observation(self, space: ValueSpace, trial: FrozenTrial) -> Observation:
        known = self._observed.get(trial.number)
        if known is not None:
            return known
        found = trial.user_attrs
        is_rejected = attributes.REJECTED in found
        is_pruned = trial.state == TrialState.PRUNED and not is_rejected
        scores = None
        if trial.state == TrialState.COMPLETE or is_pruned:
            values = [found.get(one.name, math.nan) for one in self.objectives]
            signed = np.multiply(values, objectives.signs(self.objectives))
            if np.isfinite(signed).all():
                scores = tuple(map(float, signed))
        observation = Observation(
            space.read(trial.params, found),
            scores,
            {name: found[name] for name in self.limits if name in found},
            is_running=trial.state == TrialState.RUNNING,
            is_pruned=is_pruned,
        )
        if trial.state.is_finished():
            self._observed[trial.number] = observation
        return observation

    def _direction(self, name: str) -> str:
        directions = {one.name: one.direction for one in self.objectives}
        return directions.get(name) or objectives.direction(name)

    def _learn_space(self) -> None:
        """Takes over hyperparameters that others have come upon."""
        space = self.project.notes.get(SPACE)
        if space is not None and len(space["space"]) != len(self.hyperparameters.space):
            self.update_space(kt.HyperParameters.from_config(space))
            self._observed.clear()

    def _grow(self, hyperparameters: kt.HyperParameters) -> None:
        """Tells others of hyperparameters that a trial has brought."""
        size = len(self.hyperparameters.space)
        self.update_space(hyperparameters)
        if len(self.hyperparameters.space) > size:
            self._observed.clear()
            with self.project.asking():
                self._learn_space()
                self.project.note(SPACE, self.hyperparameters.get_config())

    def _end(
        self,
        trial_id: str,
        outcome: TrialState,
        values: Sequence[float],
        numbers: Mapping[str, float],
        facts: Mapping[str, Any],
        message: str | None,
    ) -> None:
        noted: dict[str, Any] = dict(numbers)
        noted[attributes.MEASURES] = list(facts.get("measures") or ())
        if "rejected" in facts:
            noted[attributes.REJECTED] = True
        if message is not None:
            noted[attributes.MESSAGE] = message[-20_000:]
        self.project.end(
            int(trial_id),
            outcome,
            values if outcome == TrialState.COMPLETE else None,
            noted,
            {
                name: numbers[name] - most
                for name, most in self.limits.items()
                if name in numbers
            },
        )


def unknown_objectives(missing: Iterable[str], known: Iterable[str]) -> str:
    """What is said of objectives that no trial of a search would have."""
    return (
        "Each objective must be a metric of `fit`, or a measure of what the tuner "
        f"exports (`export`) or `measure` returns. Received: no {list(missing)} among "
        f"{sorted(known)}"
    )


def _plain(facts: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among the facts of a trial."""
    parameters = facts.get("parameters")
    known = {} if parameters is None else {"parameters": parameters}
    return {**known, **(facts.get("measures") or {})}


def _counted(trials: Sequence[FrozenTrial]) -> int:
    """How many trials there are, but for those that were rejected."""
    return sum(attributes.REJECTED not in one.user_attrs for one in trials)


def _first_other(status: str, records: Sequence[TrialRecord]) -> int:
    """How many of the records before the first of another status."""
    return next(
        (i for i, one in enumerate(records) if one.status != status), len(records)
    )
