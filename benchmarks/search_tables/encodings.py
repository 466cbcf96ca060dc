"""Ways to write a pattern as parameters of a search, of KerasTuner and of Optuna."""

from collections.abc import Callable
from typing import Any

import keras_tuner as kt
import optuna

from keras_share import SharingPattern
from keras_share.search import sharing_pattern, suggest_pattern

Encoding = Callable[[Any, int], SharingPattern]


def labels(hp: kt.HyperParameters, num_sites: int) -> SharingPattern:
    """A group number for each site, no larger than the number of sites before it."""
    ids = [hp.Int(f"site_{site}", 0, site) for site in range(1, num_sites)]
    return SharingPattern([0, *ids])


def categories(trial: optuna.Trial, num_sites: int) -> SharingPattern:
    """The same without order, which Optuna's samplers are better at."""
    ids = [
        trial.suggest_categorical(f"site_{site}", list(range(site + 1)))
        for site in range(1, num_sites)
    ]
    return SharingPattern([0, *ids])


# One integer with one value per partition, or one for each site.
KERAS_TUNER: dict[str, Encoding] = {"one number": sharing_pattern, "labels": labels}
OPTUNA: dict[str, Encoding] = {"one number": suggest_pattern, "labels": categories}
