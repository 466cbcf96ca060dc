"""The process of one worker: `python -m keras_share.search.launching.worker`.

It makes the tuner anew with the user's function and asks the chief for trials, until
none is left or it has run as many as it may. Its stdout are lines of JSON for the
process that started it; what it and its libraries print goes to stderr, its log.
"""

import functools
import os
import sys
import threading
import time
from typing import Any

from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.launching.delegate import Delegate
from keras_share.search.launching.events import DONE, Reporter, as_metrics
from keras_share.search.launching.script import prepare


def work(function: str, recycle: int) -> None:
    """Runs trials until the chief has none left, or `recycle` of them."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _end_with_parent()
    tuner, arguments = prepare(function)
    tuner.trials_per_process = recycle
    client = tuner.oracle
    progress = Reporter(
        stream, lambda one: client.update_trial(one.trial_id, as_metrics(one))
    )
    asked = functools.partial(_create_trial, client, progress)
    tuner.oracle = Delegate(client, create_trial=asked)
    tuner.search(**{**arguments, "verbose": progress})


def _create_trial(client: Any, progress: Reporter, tuner_id: str) -> Trial:
    """Asks the chief for a trial, and tells when there are no more."""
    trial = client.create_trial(tuner_id)
    if trial.status == TrialStatus.STOPPED:
        progress.tell(DONE)
    elif trial.status == TrialStatus.IDLE:
        time.sleep(0.2)  # KerasTuner asks again at once
    return trial


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, however it ended."""

    def wait() -> None:
        os.read(0, 1)  # stdin is a pipe in which nothing is written
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]))
