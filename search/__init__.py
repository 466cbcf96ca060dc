"""Search for the pattern of sharing, with KerasTuner.

`sharing_pattern(hp, num_sites)` makes the pattern a hyperparameter of any tuner.
`SharingSearch` is the tuner that knows what a pattern is: it keeps each trial with its
size on the device in a study of Optuna, tries nothing twice, loses nothing, and tells
what it found as `SearchResults`.

`suggest_pattern(trial, num_sites)` and `SharingSampler` are the same for Optuna alone,
and take in neither KerasTuner nor Keras: each name is imported where it is first used.
"""

import lazy_loader

# The names are those of `__init__.pyi`.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
