"""The course of a search: what it had found after each trial."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from keras_share.search import pareto

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults


def course(results: "SearchResults") -> pd.DataFrame:
    """A row for each trial in the order in which they ended.

    Returns:
        A DataFrame with the columns `trial_id`, `status`, `score`, `best` (the best
        score so far) and `volume`: the hypervolume of the front so far as a share of
        the box between the best and the worst of each of its columns in the whole
        search. What is not known yet is NaN.
    """
    board = results.leaderboard().set_index("trial_id")
    records = sorted(results.records, key=lambda record: record.ended or 0)
    board = board.loc[[record.trial_id for record in records]].reset_index()
    done = board["status"] == "COMPLETED"
    scores = board[results.objective].where(done).to_numpy(float, na_value=np.nan)
    scores = np.where(np.isfinite(scores), scores, np.nan)
    pick = np.fmax if results.sign(results.objective) < 0 else np.fmin
    return pd.DataFrame(
        {
            "trial_id": board["trial_id"],
            "status": board["status"],
            "score": scores,
            "best": pick.accumulate(scores),
            "volume": _volumes(results, board, done.to_numpy()),
        }
    )


def _volumes(
    results: "SearchResults", board: pd.DataFrame, done: np.ndarray
) -> np.ndarray:
    columns = results.default_columns()
    points = results.points(board, columns)
    known = done & np.isfinite(points).all(axis=1)
    volumes = np.full(len(board), np.nan)
    if not known.any():
        return volumes
    best, worst = points[known].min(axis=0), points[known].max(axis=0)
    # A column in which all are equal decides nothing.
    points = points[:, worst > best]
    best, worst = best[worst > best], worst[worst > best]
    if not len(best):
        return volumes
    front, volume = np.empty((0, len(best))), np.nan
    for i, point in enumerate((points - best) / (worst - best)):
        if known[i] and not (front <= point).all(axis=1).any():
            front = np.vstack([front, point])
            front = front[pareto.non_dominated(front)]
            volume = pareto.hypervolume(front, np.ones(len(best)))
        volumes[i] = volume
    return volumes
