"""How much a candidate is expected to add to the front of what is known."""

import numpy as np
from scipy.stats import norm, qmc

from keras_share.search.pareto import non_dominated

_DIRECTIONS = 64
_SAMPLES = 64


def expected_improvement(
    means: np.ndarray, deviations: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """Expected improvement of the hypervolume, up to a factor.

    A hypervolume is an average over directions of how far the front reaches in each
    (Golovin and Zhang 2020, arXiv 2006.04655), so that what a point adds to it is the
    average of what it adds to the reach. The expectation over the predictions and over
    the directions is a mean over a fixed quasi-random sample: the same for each
    candidate and each call. With one objective it is the expected improvement of Jones
    et al. (1998).

    Means and deviations are predictions of shape `(n, m)`, less is better; `known` is
    what was reached, better without the noise, as predicted, than as observed.
    """
    best, reference = _range(known)
    gains = (reference - known) / (reference - best)
    means = (reference - means) / (reference - best)
    deviations = deviations / (reference - best)
    directions, normals = _sample(means.shape[1])
    reached = _reach(gains, directions).max(axis=0)
    total = np.zeros(len(means))
    for normal in normals:
        reach = _reach(means + deviations * normal, directions)
        total += np.maximum(reach - reached, 0).mean(axis=1)
    return total / len(normals)


def _range(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best of each objective, and a point just beyond the worst of the front."""
    front = known[non_dominated(known)]
    best, worst = front.min(axis=0), front.max(axis=0)
    # A front of one point has no extent: that of all points instead.
    spread = np.where(worst > best, worst - best, np.ptp(known, axis=0))
    # Of equal predictions rounding is all that differs.
    least = 1e-12 * np.abs(known).max(axis=0)
    spread = np.where(spread > least, spread, 1.0)
    return best, worst + 0.1 * spread


def _reach(gains: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """How far points reach in directions: shape `(points, directions)`."""
    ratios = [
        np.maximum(gain, 0)[:, None] / direction
        for gain, direction in zip(gains.T, directions.T, strict=True)
    ]
    return np.minimum.reduce(ratios) ** gains.shape[1]


def _sample(num_objectives: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions uniform over the positive part of the sphere, and normal draws."""
    sobol = qmc.Sobol(2 * num_objectives, seed=0).random(_DIRECTIONS)
    normals = norm.ppf(np.clip(sobol, 1e-6, 1 - 1e-6))
    directions = np.abs(normals[:, :num_objectives])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.maximum(directions, 1e-3), normals[:_SAMPLES, num_objectives:]
