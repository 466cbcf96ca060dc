"""The tuner of a user's function, in each process of a search anew."""

import contextlib
import dis
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from keras_share.search.tuner.recording import Recording


def prepare(function: str) -> tuple[Recording, dict[str, Any]]:
    """Calls `MODULE:FUNCTION` for its tuner and the arguments of its `search`.

    Args:
        function: A Python file or an importable module, a colon, and the name of a
            function without arguments.

    Raises:
        ValueError: If the function fails, or returns something else.
    """
    module, _, name = function.rpartition(":")
    with told_of(function):
        made = getattr(_load(module), name)()
    tuner, arguments = made if isinstance(made, tuple) and len(made) == 2 else (0, 0)
    if not isinstance(tuner, Recording) or not isinstance(arguments, Mapping):
        raise ValueError(
            f"{function} must return a tuner of keras_share.search and a dictionary "
            f"with the arguments of its search. Received: {made!r}"
        )
    return tuner, dict(arguments)


@contextlib.contextmanager
def told_of(function: str) -> Iterator[None]:
    """Says of errors in a user's function, or in the search it made, whose they are.

    Raises:
        ValueError: For any error that is no bug of this package; those stay.
    """
    try:
        yield
    except Exception as error:
        if _is_bug(error):
            raise
        raise ValueError(
            f"{function} must run without an error; --debug shows where it was. "
            f"Received: {type(error).__name__}: {error}"
        ) from error


def _is_bug(error: Exception) -> bool:
    """Whether an operation of our own code failed, which raised nothing on purpose."""
    place = error.__traceback__
    while place.tb_next is not None:
        place = place.tb_next
    code = place.tb_frame.f_code
    module = place.tb_frame.f_globals.get("__name__", "")
    # This module fails where there is no such function, or one with arguments.
    is_ours = module.startswith("keras_share.") and module != __name__
    return is_ours and code.co_code[place.tb_lasti] != dis.opmap["RAISE_VARARGS"]


def _load(module: str) -> ModuleType:
    if not module.endswith(".py"):
        sys.path.insert(0, os.getcwd())
        return importlib.import_module(module)
    if not os.path.isfile(module):
        raise FileNotFoundError(f"There is no file {module!r}.")
    path = Path(module).resolve()
    sys.path.insert(0, str(path.parent))  # as `python train.py` does
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    # Layers that the script registers are found by the name of its module.
    sys.modules[path.stem] = loaded
    spec.loader.exec_module(loaded)
    return loaded
