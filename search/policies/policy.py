"""What every policy does: propose a point that was not tried."""

import random
from abc import ABC, abstractmethod

from .history import Problem
from .values import Point

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


class RandomPolicy(Policy):
    """Draws at random, without repetition.

    What is drawn for a trial depends on the seed and the number of the trial, unless
    it was tried: so several workers try what one does.
    """

    def propose(self, problem: Problem, seed: str) -> Point | None:
        return draw_untried(problem, random.Random(seed))


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
