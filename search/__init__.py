"""Search for the pattern of sharing, with KerasTuner.

`sharing_pattern(hp, num_sites)` makes the pattern a hyperparameter of any tuner.
`SharingSearch` is the tuner that knows what a pattern is; the others take the place of
KerasTuner's. All of them record each trial with its size on the device, try nothing
twice, lose nothing, and tell what they found as `SearchResults`.
"""

from keras_share.search.results import SearchResults
from keras_share.search.space.sharing_pattern import sharing_pattern
from keras_share.search.trial.inheritance import inherit
from keras_share.search.trial.outcomes import TrialRejected
from keras_share.search.trial.pruning import MedianStopping, SuccessiveHalving
from keras_share.search.tuner.sharing_oracle import SharingOracle
from keras_share.search.tuner.tuners import (
    BayesianOptimization,
    GridSearch,
    Hyperband,
    RandomSearch,
    SharingSearch,
)

__all__ = [
    "BayesianOptimization",
    "GridSearch",
    "Hyperband",
    "MedianStopping",
    "RandomSearch",
    "SearchResults",
    "SharingOracle",
    "SharingSearch",
    "SuccessiveHalving",
    "TrialRejected",
    "inherit",
    "sharing_pattern",
]
