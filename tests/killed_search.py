"""Searches to be killed, for processes that a fork server starts at once."""

import json
import os
import resource
import signal
import time
from pathlib import Path

import keras_tuner as kt

from keras_share.search import GridSearch, RandomSearch, sharing_pattern

TRIALS = 60


def score_of(pattern):
    return sum(map(ord, str(pattern))) % 97 / 97


class Journaling:
    """Mixin for trials without Keras, which takes a second to begin in a process.

    They tell when they begin; those of `deadly` patterns kill their process.
    """

    def __init__(self, folder, deadly=(), **kwargs):
        hp = kt.HyperParameters()
        sharing_pattern(hp, 6)
        self.journal = Path(folder, "journal")
        self.deadly = deadly
        super().__init__(
            objective="val_accuracy",
            **{"hyperparameters": hp, "directory": folder, "seed": 1, **kwargs},
        )

    def run_trial(self, trial):
        pattern = sharing_pattern(trial.hyperparameters, 6)
        with self.journal.open("a") as file:
            file.write(f"{pattern}\n")
        if str(pattern) in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.005)
        return {"val_accuracy": score_of(pattern)}


class Random(Journaling, RandomSearch):
    """Trials in random order."""


class Grid(Journaling, GridSearch):
    """Trials in order."""


def random_search(folder):
    """A whole search, or what is left of it."""
    Random(folder, max_trials=TRIALS).search(verbose=0)


def grid_search(folder, deadly):
    """A short search with trials that kill the process."""
    Grid(folder, deadly, max_trials=4).search(verbose=0)


def search_without_room(folder, size, file, user=None):
    """A search whose files can't be larger than `size`, by a user without rights.

    Writes what it ended with to `file`.
    """
    with open(file, "w") as told:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        if user is not None:
            os.setuid(user)
        try:
            random_search(folder)
        except Exception as error:
            told.write(json.dumps([type(error).__name__, str(error)]))
