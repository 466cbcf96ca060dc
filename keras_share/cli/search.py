"""`keras-share search`."""

from typing import Any

import click

from keras_share.cli.command import Command, Outcome
from keras_share.cli.report import show


class Function(click.ParamType):
    """A file or module, a colon, and the name of a function."""

    name = "function"

    def convert(self, value: Any, *context: Any) -> str:
        module, _, name = value.rpartition(":")
        if not module or not name.isidentifier():
            self.fail(
                "MODULE:FUNCTION must be a file or a module and the name of a function "
                f"in it, such as train.py:sharing. Received: {value}",
                *context,
            )
        return value


@click.command(
    cls=Command,
    epilog="""\b
      keras-share search train.py:sharing
      keras-share search train.py:sharing --workers 4

    \b
    In train.py:
      def sharing():
          tuner = keras_share.search.SharingSearch(
              build, "val_accuracy", max_trials=20, directory="runs"
          )
          data = {"x": x, "y": y, "validation_split": 0.2, "epochs": 5}
          return tuner, data

    \b
    On each of several machines:
      export KERAS_SHARE_STORAGE=postgresql://user:password@host/database
      keras-share search train.py:sharing --workers 4
    """,
)
@click.argument("function", metavar="MODULE:FUNCTION", type=Function())
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    help="Run trials in N processes of this machine. By default in this one.",
)
@click.option(
    "--storage",
    metavar="URL",
    envvar="KERAS_SHARE_STORAGE",
    help="Where the study is kept: any database that SQLAlchemy and Optuna know. By "
    "default a file in the project's folder. Other users see a command line: a URL "
    "with a password belongs into the variable KERAS_SHARE_STORAGE.",
)
@click.option(
    "--gpus", is_flag=True, help="Give each worker one of the GPUs of this machine."
)
@click.option(
    "--recycle",
    metavar="N",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Replace a worker after N trials, as TensorFlow keeps memory of each.",
)
@click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(min=1),
    help="Threads of each worker. By default workers share the cores.",
)
def search(
    function: str,
    workers: int | None,
    storage: str | None,
    gpus: bool,
    recycle: int,
    threads: int | None,
) -> Outcome:
    """Search for a pattern of sharing, and report what was found.

    MODULE is a Python file or an importable module. Its FUNCTION takes no arguments
    and returns a SharingSearch and a dictionary with the arguments of its search.

    Start it as often as you like, on any machine that reaches the storage, at any time:
    all take part in one search. One that was interrupted goes on where it was. Show it
    meanwhile, or draw it, with keras-share report.
    """
    if workers is None and (threads is not None or gpus):
        raise click.UsageError("--threads and --gpus need --workers.")
    from keras_share.search import launching
    from keras_share.search.tuner.halting import HaltedError

    try:
        results = launching.search(
            function,
            workers or 0,
            storage=storage,
            recycle=recycle,
            threads=threads,
            gpus=gpus,
        )
    except HaltedError as error:  # no bug of ours, as other errors in running are
        raise ValueError(str(error)) from error
    return show(results)
