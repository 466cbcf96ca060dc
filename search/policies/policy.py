"""What every policy does: propose a point that was not tried."""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from keras_share.search.policies.history import Problem
from keras_share.search.policies.values import Point

# A space of so many points is listed; in a larger one candidates are drawn.
LISTED = 2048
_DRAWS = 200


class Policy(ABC):
    """Chooses what to try next."""

    @abstractmethod
    def propose(self, problem: Problem, seed: str) -> Point | None:
        """A point that was not tried, None if there is none.

        Args:
            problem: The search so far.
            seed: Decides all random draws: the same for the same trial of a search.
        """

    def recommend(self, problem: Problem) -> int | None:
        """The trial to hand over: its place among the observations, None without one.

        The best of the first objective within the limits, if any is.
        """
        eligible = _eligible(problem)
        if not eligible:
            return None
        return eligible[int(np.argmin(self._estimates(problem, eligible)))]

    def _estimates(self, problem: Problem, eligible: Sequence[int]) -> np.ndarray:
        """What the first objective of some observations is taken to be."""
        scores = [problem.observations[i].scores for i in eligible]
        return np.array([found[0] for found in scores if found is not None])


class RandomPolicy(Policy):
    """Draws at random, without repetition.

    What is drawn for a trial depends on the seed and the number of the trial, unless
    it was tried: so several workers try what one does.
    """

    def propose(self, problem: Problem, seed: str) -> Point | None:
        return draw_untried(problem, random.Random(seed))


def _eligible(problem: Problem) -> list[int]:
    own = [
        i
        for i, o in enumerate(problem.observations)
        if o.scores is not None and not o.is_earlier and not o.is_pruned
    ]
    inside = [i for i in own if problem.is_within(problem.observations[i])]
    return inside or own


def draw_untried(problem: Problem, rng: random.Random) -> Point | None:
    """A random point that was not tried, None if there is none (or none is found)."""
    space, tried = problem.space, problem.tried()
    for _ in range(_DRAWS):
        point = space.draw(rng)
        if space.key(point) not in tried:
            return point
    listed = space.grid(LISTED) or []
    left = [point for point in listed if space.key(point) not in tried]
    return rng.choice(left) if left else None
