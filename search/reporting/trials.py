"""The trials of a search as what a model of their scores can be fitted to."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from keras_share.pattern.sharing_pattern import SharingPattern

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

# Of fewer trials any estimate would be made up.
MIN_TRIALS = 10
# Of more trials a random part tells as much, and sooner.
_MOST_TRIALS = 1000


def choices(results: "SearchResults") -> tuple[pd.DataFrame, np.ndarray]:
    """What was chosen in each completed trial, and its score.

    Returns:
        Of a thousand trials at most, a column for each pattern, which holds a
        `SharingPattern` or None, and for each other hyperparameter that differs
        between trials; and the scores.
    """
    completed = [one for one in results.records if one.is_completed]
    scores = np.array([one.score for one in completed], dtype=float)
    known = np.flatnonzero(np.isfinite(scores))
    if len(known) > _MOST_TRIALS:
        rng = np.random.default_rng(0)
        known = np.sort(rng.choice(known, _MOST_TRIALS, replace=False))
    records = [completed[i] for i in known]
    patterns = [one.patterns for one in records]
    others = [one.values for one in records]
    columns: dict[str, list] = {}
    for name in dict.fromkeys(name for found in patterns for name in found):
        columns[name] = [found.get(name) for found in patterns]
    # Where its scope is not active, a trial does not tell that these are a pattern's.
    encoding = {
        name
        for record, found in zip(records, others, strict=True)
        for name in record.hyperparameters.keys() - found.keys()
    }
    for name in dict.fromkeys(name for found in others for name in found):
        values = [found.get(name) for found in others]
        values = [v if isinstance(v, int | float | None) else str(v) for v in values]
        # KerasTuner keeps its own records among the hyperparameters.
        kept = name not in encoding and not name.startswith("tuner/")
        if kept and len(set(values)) > 1:
            columns[name] = values
    frame = pd.DataFrame({n: pd.Series(v, dtype=object) for n, v in columns.items()})
    return frame, scores[known]


def pattern_names(frame: pd.DataFrame) -> list[str]:
    """The columns of `choices` that hold patterns."""
    return _names(frame, SharingPattern)


def co_membership(column: pd.Series, num_sites: int) -> np.ndarray:
    """For each pattern and pair of sites (0, 1), (0, 2), ... 1 if the two share."""
    first, second = np.triu_indices(num_sites, 1)
    found = np.zeros((len(column), len(first)))
    for i, pattern in enumerate(column):
        if pattern is not None:
            labels = np.full(num_sites, -1)
            labels[: pattern.num_sites] = pattern.labels
            found[i] = (labels[first] == labels[second]) & (labels[second] >= 0)
    return found


def encoder(frame: pd.DataFrame) -> ColumnTransformer:
    """Turns columns of `choices` into numbers.

    A pattern becomes its co-membership and its number of groups, a number stays one
    (of mean 0 and deviation 0.5, so that it weighs about as much as a yes or no:
    Gelman, 2008, https://doi.org/10.1002/sim.3107), and a word one yes or no for each.
    """
    patterns, words = pattern_names(frame), _names(frame, str)
    numbers = [name for name in frame if name not in (*patterns, *words)]
    number = make_pipeline(
        FunctionTransformer(lambda values: values.astype(float)),
        SimpleImputer(add_indicator=True),
        StandardScaler(),
        FunctionTransformer(lambda values: values / 2),
    )
    word = make_pipeline(
        FunctionTransformer(lambda values: values.astype(str)),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    return make_column_transformer(
        *((_pattern_encoder(frame[name]), [name]) for name in patterns),
        (number, numbers),
        (word, words),
    )


def _names(frame: pd.DataFrame, kind: type) -> list[str]:
    """The columns that hold values of a kind."""
    return [n for n in frame if any(isinstance(value, kind) for value in frame[n])]


def _pattern_encoder(column: pd.Series) -> FunctionTransformer:
    num_sites = max(p.num_sites for p in column if p is not None)

    def encode(values: pd.DataFrame) -> np.ndarray:
        values = values.iloc[:, 0]
        groups = [0 if p is None else p.num_groups / num_sites for p in values]
        return np.c_[co_membership(values, num_sites), groups]

    return FunctionTransformer(encode)
