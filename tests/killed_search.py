"""Searches to be killed, for processes that a fork server starts at once."""

import json
import os
import resource
import signal
import time
from pathlib import Path

import keras_tuner as kt

from keras_share.search import SharingSearch, sharing_pattern
from keras_share.search.project import connection, study

TRIALS = 30


def score_of(pattern):
    return sum(map(ord, str(pattern))) % 97 / 97


class Journaling(SharingSearch):
    """Trials without Keras, which takes a second to begin in a process.

    They tell when they begin, and end when the file `gate` is there; those of `deadly`
    patterns kill their process.
    """

    def __init__(self, folder, deadly=(), seconds=0.005, gate=None, **kwargs):
        hp = kt.HyperParameters()
        sharing_pattern(hp, 6)
        self.journal = Path(folder, "journal")
        self.deadly = deadly
        self.seconds = seconds
        self.gate = gate
        super().__init__(
            objective="val_accuracy",
            **{
                **{"hyperparameters": hp, "directory": folder, "seed": 1},
                **{"policy": "random", "export": None, **kwargs},
            },
        )

    def run_trial(self, trial):
        pattern = sharing_pattern(trial.hyperparameters, 6)
        with self.journal.open("a") as file:
            file.write(f"{os.getpid()} {pattern}\n")
        if str(pattern) in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        while self.gate and not self.gate.exists():
            time.sleep(0.01)
        time.sleep(self.seconds)
        return {"val_accuracy": score_of(pattern)}


def whole(folder, **kwargs):
    """A whole search, or what is left of it."""
    Journaling(folder, **{"max_trials": TRIALS, **kwargs}).search(verbose=0)


def impatient(folder, lost=3, **kwargs):
    """A search that takes a silent trial for lost soon."""
    connection.BEAT, connection.LOST = 1, lost
    whole(folder, **kwargs)


def killed_at_write(folder, number):
    """A search that dies just before it writes to its study for the `number`th time."""
    written = 0

    def patiently(method, *args):
        nonlocal written
        if getattr(method, "__name__", "").startswith(("set_", "create_")):
            if written == number:
                os.kill(os.getpid(), signal.SIGKILL)
            written += 1
        return method(*args)

    study.patiently = patiently
    whole(folder, max_trials=2)


def without_room(folder, size, file, user=None):
    """A search whose files can't be larger than `size`, by a user without rights.

    Writes what it ended with to `file`.
    """
    with open(file, "w") as told:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        if user is not None:
            os.setuid(user)
        try:
            whole(folder)
        except Exception as error:
            told.write(json.dumps([type(error).__name__, str(error)]))
