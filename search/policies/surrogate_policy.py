"""`SurrogatePolicy`: tries what a model of all trials expects most of."""

import random
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from keras_share.search.pareto import non_dominated

from .history import Problem
from .improvement import expected_improvement
from .policy import LISTED, Policy, draw_untried
from .surrogate import Similarities, Surrogate
from .values import Point

_DRAWN = 300
_WALKS = 300


class SurrogatePolicy(Policy):
    """Bayesian optimization with features that know what a pattern is.

    A `Surrogate` per objective predicts all untried points of a small space, and of a
    large one random draws and neighbors of the best trials; the one of the largest
    `expected_improvement`, times the probability that it keeps the limits, is tried
    next.

    Args:
        num_initial_points: So many trials are random ones.
    """

    def __init__(self, num_initial_points: int = 8):
        self.num_initial_points = num_initial_points

    def propose(self, problem: Problem, seed: str) -> Point | None:
        """The most promising point that was not tried."""
        rng = random.Random(seed)
        if len(problem.scored) < max(self.num_initial_points, 2):
            return draw_untried(problem, rng)
        candidates = _candidates(problem, rng)
        if not candidates:
            return draw_untried(problem, rng)
        return candidates[int(np.argmax(_merits(problem, candidates)))]

    def _estimates(self, problem: Problem, eligible: Sequence[int]) -> np.ndarray:
        """Predicted means: a score that is high by luck alone is not believed."""
        if len(problem.scored) < max(self.num_initial_points, 2):
            return super()._estimates(problem, eligible)
        scored = problem.scored
        vectors = problem.space.vectors([o.point for o in scored])
        similarities = Similarities(vectors, vectors[:0], problem.space.blocks)
        surrogate = Surrogate(similarities)
        surrogate.fit(range(len(scored)), problem.scores()[:, 0])
        rows = {id(o): row for row, o in enumerate(scored)}
        own = [rows[id(problem.observations[i])] for i in eligible]
        return surrogate.predict(own)[0]


def _candidates(problem: Problem, rng: random.Random) -> list[Point]:
    space, tried = problem.space, problem.tried()
    listed = space.grid(LISTED)
    if listed is None:
        listed = [space.draw(rng) for _ in range(_DRAWN)]
        for point in _best_points(problem):
            for _ in range(_WALKS // 10):
                step = space.neighbor(point, rng)
                listed += [step, space.neighbor(step, rng)]
    found = {space.key(point): point for point in listed}
    return [point for key, point in found.items() if key not in tried]


def _best_points(problem: Problem) -> list[Point]:
    scored, scores = problem.scored, problem.scores()
    left = np.arange(len(scored))
    best: list[Point] = []
    while len(left) and len(best) < 10:
        front = non_dominated(scores[left])
        order = np.argsort(scores[left][front][:, 0])
        best += [scored[i].point for i in left[front][order]]
        left = left[~front]
    return best[:10]


def _merits(problem: Problem, candidates: Sequence[Point]) -> np.ndarray:
    observed = problem.observations
    space = problem.space
    similarities = Similarities(
        space.vectors([o.point for o in observed]),
        space.vectors(candidates),
        space.blocks,
    )
    rows = range(len(observed), len(observed) + len(candidates))
    merits = _improvement(problem, similarities, rows)
    for name, limit in problem.limits.items():
        measured = [i for i, o in enumerate(observed) if name in o.measures]
        if len(measured) > 1:
            values = np.array([observed[i].measures[name] for i in measured], float)
            surrogate = Surrogate(similarities).fit(measured, values)
            mean, deviation = surrogate.predict(rows)
            spread = np.hypot(deviation, surrogate.noise)
            merits *= norm.cdf((limit - mean) / spread)
    return merits


def _improvement(
    problem: Problem, similarities: Similarities, rows: Sequence[int]
) -> np.ndarray:
    observed = problem.observations
    seen = [i for i, o in enumerate(observed) if o.scores is not None]
    awaited = [i for i, o in enumerate(observed) if o.is_running]
    means, deviations, known = [], [], []
    for scores in problem.scores().T:
        surrogate = Surrogate(similarities).fit(seen, scores)
        if awaited:
            # As if what runs had brought what is expected of it, so that several
            # workers don't try the same.
            expected = surrogate.predict(awaited)[0]
            surrogate.condition(seen + awaited, np.concatenate([scores, expected]))
        mean, deviation = surrogate.predict(rows)
        means.append(mean)
        deviations.append(deviation)
        known.append(surrogate.predict(seen)[0])
    reached = np.transpose(known)
    inside = np.array([problem.is_within(observed[i]) for i in seen])
    merits = expected_improvement(
        np.transpose(means),
        np.transpose(deviations),
        reached[inside] if inside.any() else reached,
    )
    # Where nothing is expected to improve, the better mean still decides.
    places = np.argsort(np.argsort(means[0]))
    return merits + 1e-9 * (1 - places / len(places))
