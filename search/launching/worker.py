"""The process of one worker: `python -m keras_share.search.launching.worker`.

It makes the tuner anew with the user's function and asks the chief for trials, until
none is left or it has run as many as it may. Its stdout are lines of JSON for the
process that started it; what it and its libraries print goes to stderr, its log.
"""

import contextlib
import os
import sys
import threading
import time

import grpc

from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.launching.events import DONE, Reporter, as_metrics
from keras_share.search.launching.script import prepare
from keras_share.search.tuner.recording import Recording

HEARTBEAT = 5.0  # seconds between two signs of life to the chief


def work(function: str, recycle: int) -> None:
    """Runs trials until the chief has none left, or `recycle` of them."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _end_with_parent()
    tuner, arguments = prepare(function)
    tuner.trials_per_process = recycle
    progress = Reporter(
        stream,
        lambda record: tuner.oracle.update_trial(record.trial_id, as_metrics(record)),
    )
    _report_the_end(tuner, progress)
    threading.Thread(target=_live, args=(tuner, progress), daemon=True).start()
    tuner.search(**{**arguments, "verbose": progress})


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, however it ended."""

    def wait() -> None:
        os.read(0, 1)  # stdin is a pipe in which nothing is written
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _report_the_end(tuner: Recording, progress: Reporter) -> None:
    """Tells when the chief says that there are no more trials."""
    create_trial = tuner.oracle.create_trial

    def create_and_tell(tuner_id: str) -> Trial:
        trial = create_trial(tuner_id)
        if trial.status == TrialStatus.STOPPED:
            progress.tell(DONE)
        elif trial.status == TrialStatus.IDLE:
            time.sleep(0.2)  # KerasTuner asks again at once
        return trial

    tuner.oracle.create_trial = create_and_tell


def _live(tuner: Recording, progress: Reporter) -> None:
    """Shows the chief that the running trial is not lost."""
    while True:
        time.sleep(HEARTBEAT)
        for trial in progress.running.values():
            with contextlib.suppress(grpc.RpcError):
                tuner.oracle.get_trial(trial.trial_id)


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]))
