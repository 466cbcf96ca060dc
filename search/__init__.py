"""Search for the pattern of sharing, with KerasTuner.

`sharing_pattern(hp, num_sites)` makes the pattern a hyperparameter of any tuner.
`SharingSearch` is the tuner that knows what a pattern is: it keeps each trial with its
size on the device in a study of Optuna, tries nothing twice, loses nothing, and tells
what it found as `SearchResults`.
"""

from keras_share.search.results import SearchResults
from keras_share.search.space.sharing_pattern import sharing_pattern
from keras_share.search.trial.inheritance import inherit
from keras_share.search.trial.outcomes import TrialRejected
from keras_share.search.trial.pruning import MedianStopping, SuccessiveHalving
from keras_share.search.tuner.oracle import SharingOracle
from keras_share.search.tuner.sharing_search import SharingSearch

__all__ = [
    "MedianStopping",
    "SearchResults",
    "SharingOracle",
    "SharingSearch",
    "SuccessiveHalving",
    "TrialRejected",
    "inherit",
    "sharing_pattern",
]
