"""`SurrogatePolicy`: tries what a model of all trials expects most of."""

import random
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from keras_share.search.pareto import fronts
from keras_share.search.policies.history import Problem
from keras_share.search.policies.improvement import expected_improvement
from keras_share.search.policies.policy import LISTED, Policy, draw_untried
from keras_share.search.policies.surrogate import Similarities, Surrogate
from keras_share.search.policies.values import Point

_DRAWN = 300
_WALKS = 300


class SurrogatePolicy(Policy):
    """Bayesian optimization with features that know what a pattern is.

    A `Surrogate` per objective predicts all untried points of a small space, and of a
    large one random draws and neighbors of the best trials; the one of the largest
    `expected_improvement`, times the probability that it keeps the limits, is tried
    next.

    The first two trials share nothing and everything, as far as the space allows: what
    all others lie between. Then come random ones.

    Args:
        num_initial_points: So many trials come before the first prediction; None for
            one, and two for each dimension.
        repeat_every: Each time after so many trials the one that looks best is trained
            again, to see whether it was luck; None repeats nothing. Pays off where two
            trainings of one model differ as much as two good patterns do.

    Raises:
        ValueError: If `repeat_every` is less than 2.
    """

    def __init__(
        self, num_initial_points: int | None = None, repeat_every: int | None = None
    ):
        if repeat_every is not None and repeat_every < 2:
            raise ValueError(
                "`repeat_every` must be at least 2, or None to repeat nothing. "
                f"Received: repeat_every={repeat_every}"
            )
        self.num_initial_points = num_initial_points
        self.repeat_every = repeat_every

    def propose(self, problem: Problem, seed: str) -> Point | None:
        """The most promising point that was not tried, or one to be repeated."""
        rng = random.Random(seed)
        number = sum(not o.is_earlier for o in problem.observations)
        if number < 2 and number == len(problem.observations):
            point = problem.space.end(number == 0, rng)
            if problem.space.key(point) not in problem.tried():
                return point
        if self._is_early(problem):
            return draw_untried(problem, rng)
        if self.repeat_every is not None and number % self.repeat_every == 0:
            best = self.recommend(problem)
            if best is not None:  # none of this search, which may learn from another
                return problem.observations[best].point
        candidates = _candidates(problem, rng)
        if not candidates:
            return draw_untried(problem, rng)
        return candidates[int(np.argmax(_merits(problem, candidates)))]

    def _is_early(self, problem: Problem) -> bool:
        least = self.num_initial_points
        if least is None:
            least = 1 + 2 * len(problem.space.blocks)
        return len(problem.scored) < max(least, 2)

    def _estimates(self, problem: Problem, eligible: Sequence[int]) -> np.ndarray:
        """Predicted means: a score that is high by luck alone is not believed."""
        if self._is_early(problem):
            return super()._estimates(problem, eligible)
        scored = problem.scored
        vectors = problem.space.vectors([o.point for o in scored])
        is_earlier = [o.is_earlier for o in scored]
        similarities = Similarities(
            vectors, vectors[:0], problem.space.blocks, is_earlier
        )
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
    best: list[Point] = []
    for front in fronts(scores):
        best += [scored[i].point for i in front[np.argsort(scores[front, 0])]]
        if len(best) >= 10:
            break
    return best[:10]


def _merits(problem: Problem, candidates: Sequence[Point]) -> np.ndarray:
    observed, space = problem.observations, problem.space
    known = space.vectors([o.point for o in observed])
    others = space.vectors(candidates)
    (known_sizes, size_blocks), (other_sizes, _) = map(
        space.size_vectors, (known, others)
    )
    is_earlier = [o.is_earlier for o in observed]
    sizes = Similarities(known_sizes, other_sizes, size_blocks, is_earlier)
    rows = range(len(observed), len(observed) + len(candidates))
    every = Similarities(known, others, space.blocks, is_earlier)
    merits = _improvement(problem, every, sizes, rows)
    for name, limit in problem.limits.items():
        measured = [i for i, o in enumerate(observed) if name in o.measures]
        if len(measured) > 1:
            values = np.array([observed[i].measures[name] for i in measured], float)
            surrogate = Surrogate(sizes, is_noisy=False).fit(measured, values)
            mean, deviation = surrogate.predict(rows)
            spread = np.hypot(deviation, surrogate.noise)
            merits *= norm.cdf((limit - mean) / spread)
    return merits


def _improvement(
    problem: Problem, every: Similarities, sizes: Similarities, rows: Sequence[int]
) -> np.ndarray:
    observed = problem.observations
    seen = [i for i, o in enumerate(observed) if o.scores is not None]
    own = [i for i in seen if not observed[i].is_earlier] or seen
    awaited = [i for i, o in enumerate(observed) if o.is_running]
    means, deviations, known = [], [], []
    for number, scores in enumerate(problem.scores().T):
        is_size = number in problem.exact
        surrogate = Surrogate(sizes if is_size else every, is_noisy=not is_size)
        surrogate.fit(seen, scores)
        if awaited:
            # As if what runs had brought what is expected of it, so that several
            # workers don't try the same.
            expected = surrogate.predict(awaited)[0]
            surrogate.condition(seen + awaited, np.concatenate([scores, expected]))
        mean, deviation = surrogate.predict(rows)
        means.append(mean)
        deviations.append(deviation)
        known.append(surrogate.predict(own)[0])
    reached = np.transpose(known)
    inside = np.array([problem.is_within(observed[i]) for i in own])
    merits = expected_improvement(
        np.transpose(means),
        np.transpose(deviations),
        reached[inside] if inside.any() else reached,
    )
    # Where nothing is expected to improve, the better mean still decides.
    places = np.argsort(np.argsort(means[0]))
    return merits + 1e-9 * (1 - places / len(places))
