"""`overwrite=True`: a project is deleted, unless somebody searches in it."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

from keras_share.search.project.opening import OLDER, make_folder
from keras_share.search.project.study import Project


def delete_project(folder: Path, storage: Any) -> None:
    """Deletes a project of this version, of an earlier one or of a stock tuner.

    Raises:
        BlockingIOError: If another process runs a trial of it.
    """
    for path in (folder / old for old in OLDER):
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        project = Project(folder, storage)
        if project.is_searched():
            raise BlockingIOError(
                "`overwrite=True` deletes a project, in which nobody may search. "
                f"Received: {str(folder)!r}, in which another process runs a "
                "trial. Wait for its end, leave out `overwrite` to take part, or "
                "choose another `project_name`."
            )
        project.delete()
    shutil.rmtree(folder)
    make_folder(folder)
