"""`SurrogatePolicy`: tries what a model of all trials expects most of."""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from keras_share.search.pareto import fronts
from keras_share.search.policies.history import Problem
from keras_share.search.policies.improvement import expected_improvement
from keras_share.search.policies.policy import LISTED, Policy, draw_untried
from keras_share.search.policies.surrogate import Similarities, Surrogate
from keras_share.search.policies.values import Point

_DRAWN = 300
_WALKS = 300
# Of so many random points the one that is least like what runs is tried.
_SPREAD = 32
# Surrogates are told of so many trials: the time of a prediction grows with their cube.
_MOST_TOLD = 1000


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

    # Small matrices gain little from threads, and workers share a machine.
    @threadpool_limits.wrap(limits=1, user_api="blas")
    def propose(self, problem: Problem, seed: str) -> Point | None:
        """The most promising point that was not tried, or one to be repeated."""
        rng = random.Random(seed)
        number = sum(not o.is_earlier for o in problem.observations)
        if number < 2 and number == len(problem.observations):
            point = problem.space.end(number == 0, rng)
            if problem.space.key(point) not in problem.tried():
                return point
        if self._is_early(problem):
            return _far_from_running(problem, rng)
        if self.repeat_every is not None and number % self.repeat_every == 0:
            best = self.recommend(problem)
            if best is not None:  # none of this search, which may learn from another
                return problem.observations[best].point
        candidates = _candidates(problem, rng)
        if not candidates:
            return draw_untried(problem, rng)
        vectors = problem.space.vectors(candidates)
        merits = _merits(_telling(problem, rng), vectors)
        for _ in range(sum(not o.point for o in problem.running)):
            # As if what is still to be chosen was the best, and its like not worth it.
            distances = ((vectors - vectors[np.argmax(merits)]) ** 2).sum(axis=1)
            merits = merits * distances / max(distances.max(), 1e-9)
        return candidates[int(np.argmax(merits))]

    def _is_early(self, problem: Problem) -> bool:
        least = self.num_initial_points
        if least is None:
            least = 1 + 2 * len(problem.space.blocks)
        return len(problem.scored) < max(least, 2)

    def _estimates(self, problem: Problem, eligible: Sequence[int]) -> np.ndarray:
        """Predicted means: a score that is high by luck alone is not believed."""
        if self._is_early(problem):
            return super()._estimates(problem, eligible)
        told = _telling(problem, random.Random(0)).scored
        vectors = problem.space.vectors([o.point for o in told])
        is_earlier = [o.is_earlier for o in told]
        similarities = Similarities(
            vectors, vectors[:0], problem.space.blocks, is_earlier
        )
        surrogate = Surrogate(similarities)
        surrogate.fit(range(len(told)), [o.scores[0] for o in told if o.scores])
        means = surrogate.predict(range(len(told)))[0]
        expected = {id(o): mean for o, mean in zip(told, means, strict=True)}
        # What is not told of many trials is worse than what is.
        return np.array(
            [expected.get(id(problem.observations[i]), np.inf) for i in eligible]
        )


def _far_from_running(problem: Problem, rng: random.Random) -> Point | None:
    """A random point that was not tried, unlike those that other workers try."""
    drawn = [draw_untried(problem, rng)]
    running = [o.point for o in problem.running if o.point]
    if running:
        drawn += [draw_untried(problem, rng) for _ in range(_SPREAD - 1)]
    points = [point for point in drawn if point is not None]
    if not running or not points:
        return drawn[0]
    vectors, others = map(problem.space.vectors, (points, running))
    distances = ((vectors[:, None] - others[None]) ** 2).sum(axis=-1)
    return points[int(np.argmax(distances.min(axis=1)))]


def _telling(problem: Problem, rng: random.Random) -> Problem:
    """The problem with the best trials and random others, where there are very many."""
    observed = problem.observations
    scored = [i for i, o in enumerate(observed) if o.scores is not None]
    if len(observed) <= _MOST_TOLD:
        return problem
    best: list[int] = []
    for front in fronts(problem.scores()):
        if len(best) >= _MOST_TOLD // 2:
            break
        best += [scored[i] for i in front]
    kept = {
        *best[: _MOST_TOLD // 2],
        *(i for i, o in enumerate(observed) if o.is_running),
    }
    others = [i for i in range(len(observed)) if i not in kept]
    kept.update(rng.sample(others, min(len(others), _MOST_TOLD - _MOST_TOLD // 2)))
    return replace(problem, observations=[observed[i] for i in sorted(kept)])


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


def _merits(problem: Problem, others: np.ndarray) -> np.ndarray:
    """How much candidates promise, by their vectors."""
    observed, space = problem.observations, problem.space
    known = space.vectors([o.point for o in observed])
    (known_sizes, size_blocks), (other_sizes, _) = map(
        space.size_vectors, (known, others)
    )
    is_earlier = [o.is_earlier for o in observed]
    sizes = Similarities(known_sizes, other_sizes, size_blocks, is_earlier)
    rows = range(len(observed), len(observed) + len(others))
    every = Similarities(known, others, space.blocks, is_earlier)
    merits = _improvement(problem, every, sizes, rows)
    for name, limit in problem.limits.items():
        measured = [i for i, o in enumerate(observed) if name in o.measures]
        if len(measured) > 1:
            values = np.array([observed[i].measures[name] for i in measured], float)
            surrogate = _surrogate(name in problem.exact, every, sizes)
            surrogate.fit(measured, values)
            mean, deviation = surrogate.predict(rows)
            spread = np.hypot(deviation, surrogate.noise)
            merits *= norm.cdf((limit - mean) / spread)
    return merits


def _surrogate(is_size: bool, every: Similarities, sizes: Similarities) -> Surrogate:
    return Surrogate(sizes if is_size else every, is_noisy=not is_size)


def _improvement(
    problem: Problem, every: Similarities, sizes: Similarities, rows: Sequence[int]
) -> np.ndarray:
    observed = problem.observations
    seen = [i for i, o in enumerate(observed) if o.scores is not None]
    own = [i for i in seen if not observed[i].is_earlier] or seen
    awaited = [i for i, o in enumerate(observed) if o.is_running and o.point]
    means, deviations, known = [], [], []
    for number, scores in enumerate(problem.scores().T):
        surrogate = _surrogate(number in problem.exact, every, sizes)
        surrogate.fit(seen, scores)
        if awaited:
            # As if what runs had brought what is expected of it, so that several
            # workers don't try the same.
            expected = surrogate.predict(awaited)[0]
            surrogate.condition(seen + awaited, np.concatenate([scores, expected]))
        mean, deviation = surrogate.predict(rows)
        means.append(mean)
        deviations.append(deviation)
        known.append(surrogate.predict(own + awaited)[0])
    reached = np.transpose(known)
    inside = np.array([problem.is_within(observed[i]) for i in own + awaited])
    merits = expected_improvement(
        np.transpose(means),
        np.transpose(deviations),
        reached[inside] if inside.any() else reached,
    )
    # Where nothing is expected to improve, the better mean still decides.
    places = np.argsort(np.argsort(means[0]))
    return merits + 1e-9 * (1 - places / len(places))
