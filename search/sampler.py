"""`SharingSampler`: the policies as a sampler of Optuna."""

import math
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from keras_share.search import policies
from keras_share.search.policies import Observation, Point, Problem, ValueSpace
from keras_share.search.policies.conditions import conditions
from keras_share.search.space.pattern_space import pattern_spaces

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# So many times a proposal is made anew because another worker tries the same by now.
_TRIES = 3


class SharingSampler(BaseSampler):
    """A sampler of Optuna that knows what a sharing pattern is.

    It proposes all parameters of a trial together, also those that an objective asks
    for only sometimes, for one objective or several (of which the Pareto front is
    sought). No two trials of a study get the same values, as long as others are left.
    Trials that run count, as if they had brought what is expected of them. Constraints
    are Optuna's (`trial.set_constraint`): what is expected to keep them is preferred.

    What is proposed depends on the seed, on the number of the trial and on the trials
    that are known, and on nothing else: workers with one seed propose different values,
    and a study that was interrupted goes on as if it had not been.

    Args:
        policy: `"surrogate"`, `"evolution"` or `"random"`, or an object of
            `keras_share.search.policies`.
        seed: Seed of all random draws; None for a random one.
        sizes: Objectives, by number, and constraints, by name, that are sizes of a
            model: another training would bring the same, and of a pattern the number of
            groups and that of sites that share with none are all that matters.
        earlier: Observations of earlier searches, which the policy learns from.

    Raises:
        ValueError: If `policy` is none of these.

    Example:
    >>> import optuna
    >>> from keras_share.search import SharingSampler, suggest_pattern
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> def objective(trial):
    ...     pattern = suggest_pattern(trial, num_sites=6)
    ...     width = trial.suggest_int("width", 8, 64, step=8)
    ...     return pattern.num_groups * width
    >>> study = optuna.create_study(sampler=SharingSampler(seed=0))
    >>> study.optimize(objective, n_trials=20)
    >>> study.best_trial.user_attrs["sharing"], study.best_trial.params["width"]
    ('AAAAAA', 8)
    """

    def __init__(
        self,
        policy: Any = "surrogate",
        seed: int | None = None,
        sizes: Collection[int | str] = (),
        earlier: Sequence[Observation] = (),
    ):
        self.policy = policies.get(policy)
        self.seed = random.SystemRandom().getrandbits(32) if seed is None else seed
        self.sizes = tuple(sizes)
        self.earlier = list(earlier)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial | None
    ) -> dict[str, BaseDistribution]:
        """All parameters that any trial had, as the latest of them had it."""
        found: dict[str, BaseDistribution] = {}
        for other in study.get_trials(deepcopy=False):
            found.update(other.distributions)
        return {name: d for name, d in found.items() if not d.single()}

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Values for the parameters that the trial is expected to have."""
        if not search_space:
            return {}
        for _ in range(_TRIES):
            seen = {
                other.number
                for other in study.get_trials(deepcopy=False)
                if other.params
            }
            problem = self.problem(study, trial, search_space)
            point = self._propose(problem, f"{self.seed}/{trial.number}")
            key = problem.space.key(point)
            # Another worker may have been quicker.
            if key not in {
                problem.space.key(problem.space.read(other.params, other.user_attrs))
                for other in _others(study, trial.number)
                if other.number not in seen
            }:
                break
        values = problem.space.values(point).items()
        return {name: value for name, value in values if name in search_space}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A value for a parameter that was not expected, as if nothing was known."""
        declared = pattern_spaces(trial.user_attrs)
        space = ValueSpace({param_name: param_distribution}, declared)
        # How many began before tells whether a pattern is one of the ends.
        before = [Observation({}, is_running=True)] * min(trial.number, 2)
        seed = f"{self.seed}/{trial.number}/{space.dimensions[0].name}"
        return space.values(self._propose(Problem(space, before), seed))[param_name]

    def problem(
        self,
        study: Study,
        trial: FrozenTrial | None = None,
        search_space: Mapping[str, BaseDistribution] | None = None,
    ) -> Problem:
        """A study so far, as a policy sees it.

        For the trial to propose values for, or the one to come; the search space is by
        default all that any trial chose.
        """
        number = None if trial is None else trial.number
        others = _others(study, number)
        declared: dict[str, Any] = {}
        for other in others:
            declared.update(other.user_attrs)
        if trial is not None:
            declared.update(trial.user_attrs)
        if search_space is None:
            search_space = self.infer_relative_search_space(study, trial)
        patterns = pattern_spaces(declared)
        space = ValueSpace(search_space, patterns)
        signs = [-1 if d == StudyDirection.MAXIMIZE else 1 for d in study.directions]
        known = [observation(o, space, signs, o.constraints) for o in others]
        finished = [
            o.point
            for other, o in zip(others, known, strict=True)
            if other.state in _FINISHED
        ]
        decided = conditions(finished, [d.name for d in space.dimensions])
        return Problem(
            ValueSpace(search_space, patterns, decided),
            [*self.earlier, *known],
            len(signs),
            {name: 0.0 for o in known for name in o.measures},
            self.sizes,
        )

    def recommended(self, study: Study) -> FrozenTrial | None:
        """The trial to hand over: the best as the policy sees it, None without one.

        With noise that is not always `study.best_trial`: the surrogate doubts a score
        that its neighbors don't confirm. Of several objectives the first counts; trials
        that keep the constraints come first.
        """
        place = self.policy.recommend(self.problem(study))
        return None if place is None else _others(study)[place - len(self.earlier)]

    def _propose(self, problem: Problem, seed: str) -> Point:
        point = self.policy.propose(problem, seed)
        # Everything was tried. A study ends when its user says so.
        return problem.space.draw(random.Random(seed)) if point is None else point


def _others(study: Study, number: int | None = None) -> list[FrozenTrial]:
    """The trials that the one of a number has to heed."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state != TrialState.WAITING
        and trial.number != number
        # Of those that are about to choose, the later ones heed the earlier.
        and (trial.params or number is None or trial.number < number)
    ]


def observation(
    trial: FrozenTrial,
    space: ValueSpace,
    signs: Sequence[int],
    measures: Mapping[str, float],
) -> Observation:
    """A trial of a study as a policy sees it.

    Signs make less of an objective better; measures are what limits are set on.
    """
    point = space.read(trial.params, trial.user_attrs)
    values = trial.values if trial.state in _FINISHED else None
    scores = None
    if values is not None and len(values) == len(signs):
        scores = tuple(s * v for s, v in zip(signs, values, strict=True))
    return Observation(
        point,
        scores if scores and all(map(math.isfinite, scores)) else None,
        measures,
        is_running=trial.state == TrialState.RUNNING,
        is_pruned=trial.state == TrialState.PRUNED and scores is not None,
    )
