"""Search for the pattern of sharing, with KerasTuner.

`sharing_pattern(hp, num_sites)` makes the pattern a hyperparameter of any tuner.
`SharingSearch` is the tuner that knows what a pattern is; the others take the place of
KerasTuner's. All of them record each trial with its size on the device, try nothing
twice, lose nothing, and tell what they found as `SearchResults`.
"""

from .inheritance import inherit
from .outcomes import TrialRejected
from .pruning import MedianStopping, SuccessiveHalving
from .results import SearchResults
from .sharing_oracle import SharingOracle
from .space import sharing_pattern
from .tuners import (
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
