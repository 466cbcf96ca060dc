"""What sharing and each hyperparameter do to the score, estimated from the trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import RidgeCV

from keras_share.pattern.sharing_pattern import SharingPattern

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

# Of fewer trials any estimate would be made up.
MIN_TRIALS = 10
# Of more trials a random part tells as much, and sooner.
_MOST_TRIALS = 1000


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


@dataclass(frozen=True)
class Effects:
    """What matters in a search.

    Attributes:
        explained: Share of the variance of the scores that is predicted in trials that
            were left out.
        importance: How much of that share is lost without each hyperparameter, the
            most important first.
        pairs: What sharing does, pattern by pattern.
    """

    explained: float
    importance: dict[str, float]
    pairs: list[PairEffects]


def effects(results: "SearchResults") -> Effects | None:
    """Estimates what sharing of each pair of sites does, and what matters.

    A ridge regression of the score on one yes or no for each pair of sites (do they
    share?), the number of groups, and all other hyperparameters; of a number its square
    too, as its best value may lie in the middle. So the effect of a pair is not the
    difference between the mean of the trials in which it shares and of the others: that
    would blame a pair for the pairs that often come with it, and for a small model.
    Ridge makes effects small where few trials speak for them; how much is chosen by
    leaving out one trial after another, which also tells how well unseen trials are
    predicted. Sharing of three sites is taken as the sum of three pairs.

    None with fewer than `MIN_TRIALS` completed trials, or equal scores.
    """
    records = [
        record
        for record in results.records
        if record.is_completed and np.isfinite(record.score or 0)
    ]
    if len(records) > _MOST_TRIALS:
        rng = np.random.default_rng(0)
        chosen = np.sort(rng.choice(len(records), _MOST_TRIALS, replace=False))
        records = [records[i] for i in chosen]
    scores = np.array([record.score for record in records], float)
    if len(records) < MIN_TRIALS or np.ptp(scores) == 0:
        return None
    patterns = _columns([record.patterns for record in records])
    values = _columns([record.values for record in records])
    # Where its scope is not active, a trial does not tell that these are a pattern's.
    encoding = {n for r in records for n in r.hyperparameters.keys() - r.values.keys()}
    blocks = {name: _of_patterns(column) for name, column in patterns.items()}
    for name, column in values.items():
        # KerasTuner keeps its own records among the hyperparameters.
        is_own = name in encoding or name.startswith("tuner/")
        if not is_own and len({str(value) for value in column}) > 1:
            blocks[name] = _of_values(column)
    weights, error = _fit(list(blocks.values()), scores)
    without = {
        name: _fit([b for n, b in blocks.items() if n != name], scores)[1]
        for name in blocks
    }
    variance = scores.var()
    importance = {name: (lost - error) / variance for name, lost in without.items()}
    pairs, start = [], 0
    for name, column in patterns.items():
        shared = blocks[name][:, :-1]  # behind the pairs stands the number of groups
        counts = shared.sum(axis=0)
        found = weights[start : start + len(counts)]
        known = (counts > 0) & (counts < len(records))
        sites = _num_sites(column)
        pairs.append(
            PairEffects(
                name,
                _square(np.where(known, found, np.nan), sites),
                _square(counts, sites),
                len(records),
                1 - error / without[name],
            )
        )
        start += blocks[name].shape[1]
    return Effects(
        1 - error / variance,
        dict(sorted(importance.items(), key=lambda item: -item[1])),
        pairs,
    )


def _columns(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """The values of mappings by their keys, None where a key is missing."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _of_patterns(column: Sequence[SharingPattern | None]) -> np.ndarray:
    """For pairs of sites (0, 1), (0, 2), ... 1 if they share; the number of groups."""
    sites = _num_sites(column)
    labels, groups = np.tile(-1 - np.arange(sites), (len(column), 1)), []
    for row, pattern in zip(labels, column, strict=True):
        groups.append(0 if pattern is None else pattern.num_groups / sites)
        if pattern is not None:
            row[: pattern.num_sites] = pattern.labels
    first, second = np.triu_indices(sites, 1)
    return np.c_[labels[:, first] == labels[:, second], groups]


def _of_values(column: Sequence[Any]) -> np.ndarray:
    """A number and its square, of mean 0 and deviation 0.5; a yes or no for each word.

    So that a number weighs about as much as a yes or no: Gelman (2008,
    https://doi.org/10.1002/sim.3107).
    """
    if all(value is None or isinstance(value, int | float) for value in column):
        numbers = np.array([np.nan if v is None else v for v in column], float)
        numbers = np.c_[numbers, (numbers - np.nanmean(numbers)) ** 2]
        scaled = numbers - np.nanmean(numbers, axis=0)
        deviations = np.nanstd(scaled, axis=0)
        scaled /= 2 * np.where(deviations > 0, deviations, 1)
        return np.c_[np.nan_to_num(scaled), np.isnan(numbers[:, 0])]
    words = np.array([str(value) for value in column])
    return (words[:, None] == np.unique(words)).astype(float)


def _fit(blocks: list[np.ndarray], scores: np.ndarray) -> tuple[np.ndarray, float]:
    """The weight of each feature, and the mean squared error in a trial left out."""
    constant = np.zeros((len(scores), 1))  # there may be no features at all
    features = np.concatenate([*blocks, constant], axis=1)
    model = RidgeCV(np.logspace(-3, 3, 25)).fit(features, scores)
    return model.coef_[:-1], float(-model.best_score_)


def _num_sites(column: Sequence[SharingPattern | None]) -> int:
    return max(pattern.num_sites for pattern in column if pattern is not None)


def _square(pairs: np.ndarray, num_sites: int) -> np.ndarray:
    square = np.full((num_sites, num_sites), np.nan)
    square[np.triu_indices(num_sites, 1)] = pairs
    return np.fmax(square, square.T)
