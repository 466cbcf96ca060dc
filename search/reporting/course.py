"""The course of a search: what it had found after each trial."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults


def course(results: "SearchResults") -> pd.DataFrame:
    """A row for each trial in the order in which they ended.

    Returns:
        A DataFrame with the columns `trial_id`, `status`, `score` and `best`, the best
        score so far. What is not known yet is NaN.
    """
    records = sorted(results.records, key=lambda record: record.ended or 0)
    scores = np.array(
        [
            float(one.score) if one.is_completed and one.score is not None else np.nan
            for one in records
        ]
    )
    scores = np.where(np.isfinite(scores), scores, np.nan)
    pick = np.fmax if results.sign(results.objective) < 0 else np.fmin
    return pd.DataFrame(
        {
            "trial_id": [record.trial_id for record in records],
            "status": [record.status for record in records],
            "score": scores,
            "best": pick.accumulate(scores) if len(scores) else scores,
        }
    )
