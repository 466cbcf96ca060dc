"""What each hyperparameter matters, the pattern included."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline

from keras_share.search.reporting.trials import MIN_TRIALS, choices, encoder

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

_SHUFFLES = 10


def importance(results: "SearchResults") -> pd.DataFrame | None:
    """How much worse a forest predicts the score without each hyperparameter.

    Permutation importance (Breiman, 2001, https://doi.org/10.1023/A:1010933404324): a
    random forest learns to predict the score from the hyperparameters; on trials that
    it has not seen, the values of one of them are shuffled among the trials. A pattern
    is shuffled as a whole. The figures are shares of the variance of the scores, so
    that 0 means that nothing is lost.

    Returns:
        A row for each hyperparameter that differs between trials, the most important
        first, with the columns `name`, `importance` and `deviation` (over the
        shuffles); `attrs["explained"]` is the share of the variance that the forest
        predicts in trials it has not seen. None with fewer than `MIN_TRIALS` completed
        trials or equal scores.
    """
    frame, scores = choices(results)
    if len(frame) < MIN_TRIALS or np.ptp(scores) == 0:
        return None
    rng = np.random.default_rng(0)
    # Squared errors of all trials: as they are, and by hyperparameter and shuffle.
    plain, shuffled = 0.0, np.zeros((len(frame.columns), _SHUFFLES))
    for known, unseen in KFold(5, shuffle=True, random_state=0).split(frame):
        forest = RandomForestRegressor(100, max_features=0.5, random_state=0)
        model = make_pipeline(encoder(frame), forest)
        tried = frame.iloc[unseen]
        # In one go: each call of a forest costs much, and each row little.
        together = pd.concat([tried, *_shuffles(tried, rng)])
        with warnings.catch_warnings():
            # A value that occurs in one trial only is unknown where it is left out.
            warnings.filterwarnings("ignore", category=UserWarning)
            model.fit(frame.iloc[known], scores[known])
            predicted = model.predict(together).reshape(-1, len(unseen))
        errors = np.square(predicted - scores[unseen]).sum(axis=1)
        plain += errors[0]
        shuffled += errors[1:].reshape(shuffled.shape)
    variance = scores.var() * len(scores)
    losses = (shuffled - plain) / variance
    table = pd.DataFrame(
        {
            "name": list(frame),
            "importance": losses.mean(axis=1),
            "deviation": losses.std(axis=1),
        }
    ).sort_values("importance", ascending=False, ignore_index=True)
    table.attrs["explained"] = float(1 - plain / variance)
    return table


def _shuffles(frame: pd.DataFrame, rng: np.random.Generator) -> Iterator[pd.DataFrame]:
    """Copies of the trials in which the values of one column change places."""
    for name in frame:
        for _ in range(_SHUFFLES):
            order = rng.permutation(len(frame))
            yield frame.assign(**{name: frame[name].to_numpy()[order]})
