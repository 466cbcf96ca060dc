"""A lock, so that two processes don't search in one folder."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from keras_share.atomic import check_writable


@contextlib.contextmanager
def searching(project_dir: str | os.PathLike) -> Iterator[None]:
    """Keeps other processes from searching in a folder.

    The lock is the operating system's: it ends with its process, however that ends.

    Raises:
        BlockingIOError: If another process searches there.
        OSError: If the folder is not writable.
    """
    path = check_writable(Path(project_dir, "search.lock"))
    try:
        held = FileLock(path).acquire(blocking=False)
    except Timeout:
        raise BlockingIOError(
            "Only one process at a time may search in a folder: two would overwrite "
            f"each other's trials. Received: {str(project_dir)!r}, in which another "
            "process searches. Wait for its end, choose another `project_name`, or "
            "let several processes search together with `keras-share search "
            "train.py:function --workers N`."
        ) from None
    with held:
        yield
