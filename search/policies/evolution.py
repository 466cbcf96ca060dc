"""`EvolutionPolicy`: tries neighbors of what did well."""

import random

import numpy as np

from keras_share.search.pareto import crowding, fronts
from keras_share.search.policies.history import Problem
from keras_share.search.policies.policy import Policy, draw_untried
from keras_share.search.policies.values import Point

_TRIES = 50


class EvolutionPolicy(Policy):
    """Aging evolution: the best of some young trials has a child, the old die out.

    Real et al. (2019, arXiv 1802.01548). With several objectives the better parent is
    that of the earlier front, and within a front the less crowded one, as in NSGA-II
    (Deb et al., 2002).

    Args:
        population: So many trials, the latest, may be parents; as many are drawn at
            random first.
        tournament: The best of so many random ones of them becomes the parent.
    """

    def __init__(self, population: int = 12, tournament: int = 4):
        self.population = population
        self.tournament = tournament

    def propose(self, problem: Problem, seed: str) -> Point | None:
        """An untried neighbor of a good trial."""
        rng = random.Random(seed)
        scored = problem.scored
        if len(scored) < self.population:
            return draw_untried(problem, rng)
        space, tried = problem.space, problem.tried()
        young = range(len(scored) - self.population, len(scored))
        order = _order(problem.scores()[young.start :])
        for _ in range(_TRIES):
            drawn = rng.sample(range(len(young)), min(self.tournament, len(young)))
            parent = scored[young[min(drawn, key=order.__getitem__)]]
            child = space.neighbor(parent.point, rng)
            if space.key(child) not in tried:
                return child
        return draw_untried(problem, rng)


def _order(scores: np.ndarray) -> list[int]:
    """The place of each trial, best first."""
    ranked = [
        members[np.argsort(-crowding(scores[members]), kind="stable")]
        for members in fronts(scores)
    ]
    return np.argsort(np.concatenate(ranked)).tolist()
