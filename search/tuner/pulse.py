"""The signs of life of a trial, given while its process trains."""

import threading
from collections.abc import Callable

from keras_share.search.project.connection import AWAY
from keras_share.search.project.study import BEAT, TakenError


class Pulse:
    """Beats for one trial at a time, in a thread.

    Args:
        beat: Takes the number of a trial and a count that differs each time.
    """

    def __init__(self, beat: Callable[[int, int], None]):
        self._beat = beat
        self._over = threading.Event()

    def start(self, number: int) -> None:
        """Beats for a trial from now on."""
        self.stop()
        over = self._over = threading.Event()

        def run() -> None:
            count = 0
            while not over.wait(BEAT):
                count += 1
                try:
                    self._beat(number, count)
                except TakenError:
                    return  # it was given to others, or has ended
                except AWAY:
                    continue  # the server may come back

        threading.Thread(target=run, daemon=True).start()

    def stop(self) -> None:
        """Beats no more."""
        self._over.set()
