"""`StartWith`: tries what is known to be worth it, then what a policy proposes."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.policies.history import Problem
from keras_share.search.policies.policy import Policy
from keras_share.search.policies.surrogate_policy import SurrogatePolicy
from keras_share.search.policies.values import Point


class StartWith(Policy):
    """Tries given points first, in their order, and then does as another policy.

    Args:
        points: Values by the names of hyperparameters, a pattern as `SharingPattern` or
            as what `SharingPattern.get` reads, such as `{"sharing": "AABBCC"}`. What a
            point leaves out is drawn, and what is not in the space is brought into it.
        then: The policy that proposes what comes after them.

    Example:
    ```python
    policy = StartWith([{"sharing": "AABBCC"}, {"sharing": "ABBBBC"}])
    tuner = SharingSearch(build, "val_accuracy", policy=policy)
    ```
    """

    def __init__(self, points: Sequence[Mapping[str, Any]], then: Policy | None = None):
        self.points = list(points)
        self.then = SurrogatePolicy() if then is None else then

    def propose(self, problem: Problem, seed: str) -> Point | None:
        """The next of the given points, or what the other policy proposes."""
        space, tried = problem.space, problem.tried()
        patterns = {d.name: d.space for d in space.patterns}
        for number, given in enumerate(self.points):
            values = {
                name: SharingPattern.get(value, patterns[name].num_sites)
                if name in patterns
                else value
                for name, value in given.items()
            }
            # Drawn alike each time, so that it is known whether it was tried.
            point = space.complete(values, random.Random(f"start {number}"))
            if space.key(point) not in tried:
                return point
        return self.then.propose(problem, seed)

    def _estimates(self, problem: Problem, eligible: Sequence[int]) -> np.ndarray:
        return self.then._estimates(problem, eligible)
