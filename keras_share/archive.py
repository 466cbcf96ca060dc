"""Archives from elsewhere, before they are unpacked."""

import os
import zipfile

MOST_TIMES = 100  # what numbers are compressed to, and more
ALWAYS = 2**24  # bytes that no archive is too small for


def check_unpacked(path: str | os.PathLike) -> None:
    """Raises an error if an archive unpacks to far more bytes than it has.

    Raises:
        ValueError: If it does.
    """
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    size = os.path.getsize(path)
    if unpacked > max(ALWAYS, MOST_TIMES * size):
        raise ValueError(
            f"An archive must unpack to at most {MOST_TIMES} times its size. Received: "
            f"{os.fspath(path)!r} of {size:,} bytes, which unpacks to {unpacked:,}. If "
            "you trust it, unpack it and pack it again without compression."
        )
