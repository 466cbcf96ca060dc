"""How processes know of each other that they live."""

import contextlib
import os
import socket
import threading
import uuid
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from keras_share.search.project.connection import AWAY


class Presence:
    """A process, as the others of its machine see it: by a file that it locks.

    The system lets go of a lock when a process ends, however it ends. Its name is what
    no other process on any machine is called.
    """

    def __init__(self, folder: str | os.PathLike):
        self.name = [socket.gethostname(), uuid.uuid4().hex]
        self._folder = Path(folder, "running")
        self._lock: FileLock | None = None

    def show(self) -> None:
        """Lets others know that this process lives, until it ends."""
        if self._lock is None:
            self._folder.mkdir(exist_ok=True)
            self._lock = FileLock(self._folder / self.name[1])
            self._lock.acquire()

    def is_alive(self, name: list[str]) -> bool | None:
        """Whether the process of a name lives; None if that can't be seen from here."""
        if name == self.name:
            return True
        path = self._folder / name[1]
        if name[0] != self.name[0] or not path.exists():
            return None
        try:
            with FileLock(path, timeout=0):
                path.unlink(missing_ok=True)
        except Timeout:
            return True
        return False

    def __del__(self) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._lock.release()
                Path(self._lock.lock_file).unlink(missing_ok=True)


class Pulse:
    """The heartbeats of the trial that a process runs, given while it trains.

    Optuna has them for databases; in another storage a process that dies is only known
    to be gone by others of its machine.
    """

    def __init__(self, storage: Any):
        self._storage = storage
        ask = getattr(storage, "get_heartbeat_interval", lambda: None)
        self._interval = ask()
        self._over = threading.Event()

    def start(self, trial_id: int) -> None:
        """Beats for a trial from now on."""
        self.stop()
        if self._interval is None:
            return
        over = self._over = threading.Event()

        def run() -> None:
            while not over.is_set():
                with contextlib.suppress(*AWAY):  # the server may come back
                    self._storage.record_heartbeat(trial_id)
                over.wait(self._interval)

        threading.Thread(target=run, daemon=True).start()

    def stop(self) -> None:
        """Beats no more."""
        self._over.set()
