"""Which sites like to share: the effect of each pair, estimated from the trials."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import RidgeCV

from keras_share.search.reporting.trials import (
    MIN_TRIALS,
    choices,
    co_membership,
    encoder,
    pattern_names,
)

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults


@dataclass(frozen=True)
class PairEffects:
    """What sharing does to the objective, for each pair of sites of one pattern.

    Attributes:
        name: Hyperparameter of the pattern.
        effects: Symmetric array of shape `(sites, sites)`: by how much the objective
            differs, in its own unit, where two sites share from where they don't,
            all else equal. NaN where the trials can't tell, as all or none share.
        counts: Of the same shape: in how many trials the two share.
        trials: Number of trials that the estimate rests on.
        explained: How much better a trial that was left out is predicted with the
            pattern than from all else: 1 if without an error, 0 if no better. Near or
            below zero the effects are of chance.
    """

    name: str
    effects: np.ndarray
    counts: np.ndarray
    trials: int
    explained: float


def pair_effects(results: "SearchResults") -> list[PairEffects]:
    """Estimates the effect of sharing for each pair of sites, pattern by pattern.

    A ridge regression of the score on one yes or no for each pair of sites (do they
    share?), the number of groups, and all other hyperparameters. So the effect of a
    pair is not the difference between the mean of the trials in which it shares and
    of the others: that would blame a pair for the pairs that often come with it, and
    for a small model. Ridge makes effects small where few trials speak for them; how
    much is chosen by leaving out one trial after another. Sharing of three sites is
    taken as the sum of three pairs.

    Returns:
        One for each pattern of the search; none with fewer than `MIN_TRIALS` completed
        trials or equal scores.
    """
    frame, scores = choices(results)
    if len(frame) < MIN_TRIALS or np.ptp(scores) == 0:
        return []
    features = encoder(frame).fit_transform(frame)
    weights, error = _fit(features, scores)
    found, start = [], 0
    for name in pattern_names(frame):
        num_sites = max(p.num_sites for p in frame[name] if p is not None)
        counts = co_membership(frame[name], num_sites).sum(axis=0)
        stop = start + len(counts)
        known = (counts > 0) & (counts < len(frame))
        # Behind the pairs stands the number of groups.
        _, error_without = _fit(np.delete(features, slice(start, stop + 1), 1), scores)
        found.append(
            PairEffects(
                name,
                _square(np.where(known, weights[start:stop], np.nan), num_sites),
                _square(counts, num_sites),
                len(frame),
                1 - error / error_without,
            )
        )
        start = stop + 1
    return found


def _fit(features: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, float]:
    """The weight of each feature, and the mean squared error in a trial left out."""
    constant = np.zeros((len(features), 1))  # there may be no features at all
    model = RidgeCV(np.logspace(-3, 3, 25)).fit(np.c_[features, constant], scores)
    return model.coef_[:-1], float(-model.best_score_)


def _square(pairs: np.ndarray, num_sites: int) -> np.ndarray:
    square = np.full((num_sites, num_sites), np.nan)
    square[np.triu_indices(num_sites, 1)] = pairs
    return np.fmax(square, square.T)
