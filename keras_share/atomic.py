"""Writing files whole or not at all."""

import os
import shutil
import uuid
from pathlib import Path


def check_writable(path: str | os.PathLike) -> Path:
    """Returns the real path of a file that may be written, before work is put in it.

    Raises:
        ValueError: If `path` exists and is no regular file.
        OSError: If the folder does not exist or cannot be written.
    """
    path = Path(os.path.realpath(path))  # a link stays a link
    try:
        there, in_folder = path.exists(), path.parent.is_dir()
    except OSError as error:
        raise OSError(
            error.errno,
            "The name of a file to write must be one that the file system takes "
            f"({error.strerror}). Received: {str(path)!r}. Choose another name.",
        ) from error
    if not in_folder:
        mend = "Choose another folder, as a file has the name of this one."
        if not path.parent.exists():
            mend = f"Create the folder {str(path.parent)!r} first, or choose another."
        raise FileNotFoundError(
            "A file can only be written into an existing folder. "
            f"Received: {str(path)!r}. {mend}"
        )
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(
            f"The folder of a file to write must be writable. Received: "
            f"{str(path)!r}. Choose another folder."
        )
    if there and not path.is_file():
        raise ValueError(
            "Only a regular file can be replaced. "
            f"Received: {str(path)!r}, a folder or a device. Add a file name."
        )
    return path


def write_atomically(path: str | os.PathLike, data: bytes | str) -> None:
    """Writes `data` to `path` whole or not at all.

    The bytes go to a temporary name in the same folder, which then takes the place of
    `path`: a reader sees the old file or the new one, and a failure leaves the old one
    and nothing else.

    Args:
        path: Where to write. The folder must exist; an existing file is replaced, and
            its mode stays.
        data: The bytes of the file, or its text, written in UTF-8 with `?` for what
            has none (half of a pair of surrogates).

    Raises:
        ValueError: If `path` exists and is no regular file.
        OSError: If the folder does not exist or cannot be written.
    """
    path = check_writable(path)
    if isinstance(data, str):
        data = data.encode(errors="replace")
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            if path.exists():  # before there is anything in it to be read
                shutil.copymode(path, temporary)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"The folder of a file to write must be writable and have room for "
            f"{len(data)} bytes ({error.strerror}). Received: {str(path)!r}. "
            "Choose another folder, or free some room.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
