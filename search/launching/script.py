"""The tuner of a user's function, in each process of a search anew."""

import contextlib
import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from keras_share.search.tuner.sharing_search import SharingSearch

_STDLIB = sysconfig.get_path("stdlib")
# With these a library complains of what it was given.
_COMPLAINTS = (ValueError, TypeError, OSError, RuntimeError)


def prepare(function: str) -> tuple[SharingSearch, dict[str, Any]]:
    """Calls `MODULE:FUNCTION` for its tuner and the arguments of its `search`.

    Args:
        function: A Python file or an importable module, a colon, and the name of a
            function without arguments.

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
    """Tells an error in a user's function, or in the search it made, as such.

    It stays what it is if the fault is ours: it came up in keras_share and not in what
    of the user's is called there, and is no complaint about what was given.

    Raises:
        ValueError: In place of an error of the user's.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, _COMPLAINTS) and _is_ours(error):
            raise
        raise ValueError(
            f"{function} must run without an error; --debug shows where it was. "
            f"Received: {type(error).__name__}: {error}"
        ) from error


def _is_ours(error: Exception) -> bool:
    """Whether it came up in keras_share, or in a library that it called."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        name = frame.f_globals.get("__name__", "")
        if name == __name__:
            return False  # where the user's module and function are called
        if name.startswith("keras_share."):
            return True
        path = Path(frame.f_code.co_filename)
        installed = {"site-packages", "dist-packages"} & {*path.parts}
        if path.exists() and not installed and not path.is_relative_to(_STDLIB):
            return False
    return False


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
