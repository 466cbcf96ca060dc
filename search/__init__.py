"""Search for the pattern of sharing, with KerasTuner.

`sharing_pattern(hp, num_sites)` makes the pattern a hyperparameter of any tuner. The
tuners here take the place of KerasTuner's: they record each trial with its size on the
device, try nothing twice, and tell what they found as `SearchResults`.
"""

from .results import SearchResults
from .space import sharing_pattern
from .tuners import BayesianOptimization, GridSearch, Hyperband, RandomSearch

__all__ = [
    "BayesianOptimization",
    "GridSearch",
    "Hyperband",
    "RandomSearch",
    "SearchResults",
    "sharing_pattern",
]
