"""The tuner of a user's function, in each process of a search anew."""

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from keras_share.search.tuner.sharing_search import SharingSearch


def prepare(function: str) -> tuple[SharingSearch, dict[str, Any]]:
    """Calls `MODULE:FUNCTION` for its tuner and the arguments of its `search`.

    Raises:
        ValueError: If the function fails, or returns something else.
    """
    module, _, name = function.rpartition(":")
    with faults_of(function):
        made = getattr(load_module(module), name)()
    tuner, arguments = made if isinstance(made, tuple) and len(made) == 2 else (0, 0)
    if not isinstance(tuner, SharingSearch) or not isinstance(arguments, Mapping):
        raise ValueError(
            f"{function} must return a SharingSearch and a dictionary "
            f"with the arguments of its search. Received: {made!r}"
        )
    return tuner, dict(arguments)


@contextlib.contextmanager
def faults_of(function: str) -> Iterator[None]:
    """Tells an error in a user's function as such, as a ValueError."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{function} must run without an error; --debug shows where it was. "
            f"Received: {type(error).__name__}: {error}"
        ) from error


def load_module(module: str) -> ModuleType:
    """Imports a Python file, or a module from the working folder."""
    if not module.endswith(".py"):
        sys.path.insert(0, os.getcwd())
        return importlib.import_module(module)
    if not os.path.isfile(module):
        raise FileNotFoundError(f"There is no file {module!r}.")
    path = Path(module).resolve()
    sys.path.insert(0, str(path.parent))  # as `python train.py` does
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # of a name in .py
    loaded = importlib.util.module_from_spec(spec)
    # Layers that the script registers are found by the name of its module.
    sys.modules[path.stem] = loaded
    spec.loader.exec_module(loaded)
    return loaded
