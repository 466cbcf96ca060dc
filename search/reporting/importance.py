"""What each hyperparameter matters, the pattern included."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.inspection import permutation_importance
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline

from keras_share.search.reporting.trials import MIN_TRIALS, choices, encoder

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

_SHUFFLES = 5
_SCORING = "neg_mean_squared_error"


def importance(results: "SearchResults") -> pd.DataFrame | None:
    """How much worse the score is predicted without each hyperparameter.

    Permutation importance (Breiman, 2001, https://doi.org/10.1023/A:1010933404324):
    boosted trees learn to predict the score from the hyperparameters; on trials that
    they have not seen, the values of one of them are shuffled among the trials. A
    pattern is shuffled as a whole. The figures are shares of the variance of the
    scores, so that 0 means that nothing is lost.

    Returns:
        A row for each hyperparameter that differs between trials, the most important
        first, with the columns `name`, `importance` and `deviation` (over the
        shuffles); `attrs["explained"]` is the share of the variance that is
        predicted in unseen trials. None with fewer than `MIN_TRIALS` completed
        trials or equal scores.
    """
    frame, scores = choices(results)
    if len(frame) < MIN_TRIALS or np.ptp(scores) == 0:
        return None
    # Of all trials: squared errors, and by hyperparameter and shuffle how much larger.
    error, lost = 0.0, np.zeros((len(frame.columns), _SHUFFLES))
    for known, unseen in KFold(5, shuffle=True, random_state=0).split(frame):
        trees = GradientBoostingRegressor(
            n_estimators=50, max_features=0.5, random_state=0
        )
        model = make_pipeline(encoder(frame), trees)
        new = frame.iloc[unseen], scores[unseen]
        with warnings.catch_warnings():
            # A value that occurs in one trial only is unknown where it is left out.
            warnings.filterwarnings("ignore", category=UserWarning)
            model.fit(frame.iloc[known], scores[known])
            error += len(unseen) * mean_squared_error(new[1], model.predict(new[0]))
            shuffled = permutation_importance(
                model, *new, scoring=_SCORING, n_repeats=_SHUFFLES, random_state=0
            )
        lost += len(unseen) * shuffled.importances
    variance = scores.var() * len(scores)
    table = pd.DataFrame(
        {
            "name": list(frame),
            "importance": lost.mean(axis=1) / variance,
            "deviation": lost.std(axis=1) / variance,
        }
    ).sort_values("importance", ascending=False, ignore_index=True)
    table.attrs["explained"] = float(1 - error / variance)
    return table
