"""`SurrogatePolicy`: tries what a model of all trials expects most of."""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from keras_share.search.pareto import fronts
from keras_share.search.policies.expectation import Expectation
from keras_share.search.policies.history import Problem
from keras_share.search.policies.policy import LISTED, Policy, draw_untried
from keras_share.search.policies.surrogate import Surrogate
from keras_share.search.policies.values import Point

_DRAWN = 300
_WALKS = 300
# Then the neighbors of the most promising, so many times.
_CLIMBS, _CLIMBED = 3, 100
# So many points have neighbors.
_BEST = 10
# The square of how far apart points are that have little in common.
_NEAR = 0.05
# Surrogates are told of so many trials: the time of a prediction grows with their cube.
_MOST_TOLD = 600


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
            return draw_untried(problem, rng)
        if self.repeat_every is not None and number % self.repeat_every == 0:
            best = self.recommend(problem)
            if best is not None:  # none of this search, which may learn from another
                return problem.observations[best].point
        candidates = _Candidates(problem, rng)
        if not candidates.points:
            return draw_untried(problem, rng)
        for _ in range(_CLIMBS if candidates.is_drawn else 0):
            candidates.climb()
        for _ in range(sum(not o.point for o in problem.running)):
            # What is still to be chosen is likely to be the best.
            candidates.pass_over_best()
        return candidates.best()

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
        inputs = np.c_[vectors, [o.is_earlier for o in told]]
        surrogate = Surrogate(problem.space.blocks)
        surrogate.fit(inputs, [o.scores[0] for o in told if o.scores])
        means = surrogate.predict(inputs)[0]
        expected = {id(o): mean for o, mean in zip(told, means, strict=True)}
        # What is not told of many trials is worse than what is.
        return np.array(
            [expected.get(id(problem.observations[i]), np.inf) for i in eligible]
        )


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


class _Candidates:
    """Untried points, and what they promise: all, or of very many some."""

    def __init__(self, problem: Problem, rng: random.Random):
        self._space, self._tried, self._rng = problem.space, problem.tried(), rng
        listed = problem.space.grid(LISTED)
        self.is_drawn = listed is None
        if listed is None:
            listed = [self._space.draw(rng) for _ in range(_DRAWN)]
            listed += self._walks(_best_points(problem), _WALKS)
        self.points: list[Point] = []
        self._vectors = problem.space.vectors([])
        self._merits = np.empty(0)
        self._expectation: Expectation | None = None
        running = [o.point for o in problem.running if o.point]
        self._running = self._space.vectors(running)
        self._problem = problem
        self._add(listed)

    def climb(self) -> None:
        """Adds neighbors of the most promising."""
        order = np.argsort(-self._merits, kind="stable")[:_BEST]
        self._add(self._walks([self.points[i] for i in order], _CLIMBED))

    def pass_over_best(self) -> None:
        """Makes the best, and what is like it, promise less."""
        best = self._vectors[np.argmax(self._merits)]
        self._merits = self._merits * _unlike(self._vectors, best[None])

    def best(self) -> Point:
        """The most promising."""
        return self.points[int(np.argmax(self._merits))]

    def _walks(self, points: Sequence[Point], count: int) -> list[Point]:
        """As many points one step away, and two steps."""
        found = []
        for point in points:
            for _ in range(count // len(points)):
                step = self._space.neighbor(point, self._rng)
                found += [step, self._space.neighbor(step, self._rng)]
        return found

    def _add(self, points: Sequence[Point]) -> None:
        new = {self._space.key(point): point for point in points}
        new = {key: point for key, point in new.items() if key not in self._tried}
        self._tried |= set(new)
        if new:
            if self._expectation is None:
                self._expectation = Expectation(_telling(self._problem, self._rng))
            vectors = self._space.vectors(list(new.values()))
            self.points += new.values()
            self._vectors = np.concatenate([self._vectors, vectors])
            merits = self._expectation.merits(vectors)
            merits = merits * _unlike(vectors, self._running)
            self._merits = np.concatenate([self._merits, merits])


def _unlike(vectors: np.ndarray, running: np.ndarray) -> np.ndarray:
    """How unlike what runs points are, from 0 to 1: its neighbors can wait for it.

    Expected improvement alone sends workers to neighbors, as it doubts what it sees.
    """
    found = np.ones(len(vectors))
    for other in running:
        distances = ((vectors - other) ** 2).sum(axis=1)
        found *= -np.expm1(-distances / (2 * _NEAR))
    return found


def _best_points(problem: Problem) -> list[Point]:
    scored, scores = problem.scored, problem.scores()
    best: list[Point] = []
    for front in fronts(scores):
        best += [scored[i].point for i in front[np.argsort(scores[front, 0])]]
        if len(best) >= _BEST:
            break
    return best[:_BEST]
