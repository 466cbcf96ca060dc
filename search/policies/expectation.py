"""`Expectation`: what candidates promise, by surrogates of all that is known."""

import numpy as np
from scipy.stats import norm

from keras_share.search.policies.history import Problem
from keras_share.search.policies.improvement import expected_improvement
from keras_share.search.policies.surrogate import Surrogate


class Expectation:
    """Surrogates of the objectives and limits of a problem."""

    def __init__(self, problem: Problem):
        self.problem = problem
        observed, scores = problem.observations, problem.scores()
        vectors = problem.space.vectors([o.point for o in observed])
        is_earlier = np.array([o.is_earlier for o in observed])
        inputs = np.c_[vectors, is_earlier]
        is_seen = np.array([o.scores is not None for o in observed])
        seen = inputs[is_seen]
        awaited = inputs[[o.is_running and bool(o.point) for o in observed]]
        self._objectives = []
        for number, values in enumerate(scores.T):
            surrogate = self._surrogate(number).fit(seen, values)
            if len(awaited):
                # As if what runs had brought what is expected of it, so that several
                # workers don't try the same.
                expected = surrogate.predict(awaited)[0]
                surrogate.condition(np.r_[seen, awaited], np.r_[values, expected])
            self._objectives.append(surrogate)
        self._limits = []
        for name, limit in problem.limits.items():
            known = [i for i, o in enumerate(observed) if name in o.measures]
            if len(known) > 1:
                values = [observed[i].measures[name] for i in known]
                fitted = self._surrogate(name).fit(inputs[known], values)
                self._limits.append((limit, fitted))
        own = is_seen & ~is_earlier
        own = own if own.any() else is_seen
        inside = own & [problem.is_within(o) for o in observed]
        reached = inputs[inside if inside.any() else own]
        self._reached = self._predict(np.r_[reached, awaited])[0]

    def merits(self, candidates: np.ndarray) -> np.ndarray:
        """How much candidates promise, by their vectors: the more the better."""
        inputs = np.c_[candidates, np.zeros(len(candidates))]
        means, deviations = self._predict(inputs)
        merits = expected_improvement(means, deviations, self._reached)
        # Where nothing is expected to improve, the better mean still decides.
        center, scale = self._reached[:, 0].mean(), np.ptp(self._reached[:, 0]) or 1.0
        merits += 1e-9 * norm.sf((means[:, 0] - center) / scale)
        for limit, surrogate in self._limits:
            mean, deviation = surrogate.predict(inputs)
            spread = np.hypot(deviation, surrogate.noise)
            merits *= norm.cdf((limit - mean) / spread)
        return merits

    def _surrogate(self, of: int | str) -> Surrogate:
        """One of an objective, by number, or of a limit, by name."""
        space, is_size = self.problem.space, of in self.problem.exact
        blocks = space.size_blocks if is_size else space.blocks
        return Surrogate(blocks, is_noisy=not is_size)

    def _predict(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and deviations, each of shape `(points, objectives)`."""
        found = [surrogate.predict(inputs) for surrogate in self._objectives]
        means, deviations = zip(*found, strict=True)
        return np.transpose(means), np.transpose(deviations)
