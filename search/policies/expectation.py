"""`Expectation`: what candidates promise, by surrogates of all that is known."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from keras_share.search.policies.history import Problem
from keras_share.search.policies.improvement import expected_improvement
from keras_share.search.policies.surrogate import Similarities, Surrogate


class Expectation:
    """Surrogates of the objectives and limits of a problem."""

    def __init__(self, problem: Problem):
        observed = problem.observations
        self.problem = problem
        vectors = problem.space.vectors([o.point for o in observed])
        is_earlier = [o.is_earlier for o in observed]
        sizes, size_blocks = problem.space.size_vectors(vectors)
        self._every = Similarities(vectors, problem.space.blocks, is_earlier)
        self._sizes = Similarities(sizes, size_blocks, is_earlier)
        self._seen = [i for i, o in enumerate(observed) if o.scores is not None]
        self._awaited = [i for i, o in enumerate(observed) if o.is_running and o.point]
        self._objectives = [
            self._surrogate(number).fit(self._seen, scores)
            for number, scores in enumerate(problem.scores().T)
        ]
        self._limits = []
        for name, limit in problem.limits.items():
            rows = [i for i, o in enumerate(observed) if name in o.measures]
            if len(rows) > 1:
                values = [observed[i].measures[name] for i in rows]
                self._limits.append((limit, self._surrogate(name).fit(rows, values)))
        for surrogate, scores in zip(self._objectives, problem.scores().T, strict=True):
            if self._awaited:
                # As if what runs had brought what is expected of it, so that several
                # workers don't try the same.
                expected = surrogate.predict(self._awaited)[0]
                surrogate.condition(
                    self._seen + self._awaited, np.concatenate([scores, expected])
                )
        own = [i for i in self._seen if not observed[i].is_earlier] or self._seen
        inside = [i for i in own if problem.is_within(observed[i])]
        self._reached = self._predict((inside or own) + self._awaited)[0]

    def merits(self, candidates: np.ndarray) -> np.ndarray:
        """How much candidates promise, by their vectors: the more the better."""
        self._every.set_others(candidates)
        self._sizes.set_others(self.problem.space.size_vectors(candidates)[0])
        known = len(self.problem.observations)
        rows = range(known, known + len(candidates))
        means, deviations = self._predict(rows)
        merits = expected_improvement(means, deviations, self._reached)
        # Where nothing is expected to improve, the better mean still decides.
        center, scale = self._reached[:, 0].mean(), np.ptp(self._reached[:, 0]) or 1.0
        merits += 1e-9 * norm.sf((means[:, 0] - center) / scale)
        for limit, surrogate in self._limits:
            mean, deviation = surrogate.predict(rows)
            spread = np.hypot(deviation, surrogate.noise)
            merits *= norm.cdf((limit - mean) / spread)
        return merits

    def _surrogate(self, of: int | str) -> Surrogate:
        """One of an objective, by number, or of a limit, by name."""
        is_size = of in self.problem.exact
        similarities = self._sizes if is_size else self._every
        return Surrogate(similarities, is_noisy=not is_size)

    def _predict(self, rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Means and deviations, each of shape `(rows, objectives)`."""
        found = [surrogate.predict(rows) for surrogate in self._objectives]
        means, deviations = zip(*found, strict=True)
        return np.transpose(means), np.transpose(deviations)
