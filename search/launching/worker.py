"""The process of one worker: `python -m keras_share.search.launching.worker`.

It makes the tuner anew with the user's function and takes part in the search, until
that is over or it has run as many trials as it may.
"""

import os
import sys
import threading

from keras_share.search.launching.script import prepare

MORE = 75  # the exit code of a worker that has run as many trials as it may


def work(function: str, recycle: int) -> int:
    """Runs trials until none is left, or `recycle` of them; returns the exit code."""
    tuner, arguments = prepare(function)
    tuner.trials_per_process = recycle
    tuner.search(**{**arguments, "verbose": 0})
    return 0 if tuner.is_over else MORE


def end_with_parent() -> None:
    """Ends this process when the one that started it is gone, however it ended."""

    def wait() -> None:
        os.read(0, 1)  # stdin is a pipe in which nothing is written
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    sys.exit(work(sys.argv[1], int(sys.argv[2])))
