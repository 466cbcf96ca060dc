"""`keras-share search`."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from keras_share.cli.command import Command, Outcome
from keras_share.cli.report import show

if TYPE_CHECKING:
    from keras_share.search.recording import Recording


@click.command(
    cls=Command,
    epilog="""\b
      keras-share search train.py:sharing

    \b
    In train.py:
      def sharing():
          tuner = keras_share.search.RandomSearch(
              build, "val_accuracy", max_trials=20, directory="runs"
          )
          data = {"x": x, "y": y, "validation_split": 0.2, "epochs": 5}
          return tuner, data
    """,
)
@click.argument("function", metavar="MODULE:FUNCTION")
def search(function: str) -> Outcome:
    """Search for a pattern of sharing, and report what was found.

    MODULE is a Python file or an importable module. Its FUNCTION takes no arguments
    and returns a tuner of keras_share.search and a dictionary with the arguments of
    its search.

    A search that was interrupted goes on where it was when it is started again. Show
    it meanwhile, or draw it, with keras-share report.
    """
    tuner, arguments = _prepare(function)
    arguments.setdefault("verbose", "auto" if sys.stderr.isatty() else 0)
    try:
        tuner.search(**arguments)
    except Exception as error:
        raise _of_user(function, error) from error
    return show(tuner.results)


def _prepare(function: str) -> tuple["Recording", dict[str, Any]]:
    """What the user's function returns."""
    module, _, name = function.rpartition(":")
    if not module or not name.isidentifier():
        raise click.BadParameter(
            "MODULE:FUNCTION must be a file or a module and the name of a function in "
            f"it, such as train.py:sharing. Received: {function}"
        )
    try:
        made = getattr(_load(module), name)()
    except Exception as error:
        raise _of_user(function, error) from error
    from keras_share.search.recording import Recording

    tuner, arguments = made if isinstance(made, tuple) and len(made) == 2 else (0, 0)
    if not isinstance(tuner, Recording) or not isinstance(arguments, Mapping):
        raise ValueError(
            f"{function} must return a tuner of keras_share.search and a dictionary "
            f"with the arguments of its search. Received: {made!r}"
        )
    return tuner, dict(arguments)


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


def _of_user(function: str, error: Exception) -> ValueError:
    return ValueError(
        f"{function} must run without an error; --debug shows where it was. "
        f"Received: {type(error).__name__}: {error}"
    )
