"""`keras-share search`."""

from typing import Any

import click

from keras_share.cli.command import Command, Outcome
from keras_share.cli.report import show

_LOCAL = "127.0.0.1"


class _Function(click.ParamType):
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


class _Address(click.ParamType):
    """A host and a port."""

    name = "address"

    def convert(self, value: Any, *context: Any) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal():
            self.fail(
                f"--join takes HOST:PORT, such as first:8765. Received: {value}",
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
          tuner = keras_share.search.RandomSearch(
              build, "val_accuracy", max_trials=20, directory="runs"
          )
          data = {"x": x, "y": y, "validation_split": 0.2, "epochs": 5}
          return tuner, data

    \b
    On several machines:
      first$   keras-share search train.py:sharing --workers 4 \\
                   --host 0.0.0.0 --port 8765
      others$  keras-share search train.py:sharing --workers 4 --join first:8765
    """,
)
@click.argument("function", metavar="MODULE:FUNCTION", type=_Function())
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=0),
    help="Run trials in N processes of this machine. By default in this one.",
)
@click.option(
    "--host",
    metavar="ADDRESS",
    help="Serve workers of other machines, at 0.0.0.0 for any network. Anybody who "
    "reaches the port can take part: keep it in a private network.",
)
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(1, 65535),
    help="Where to serve. By default any free port.",
)
@click.option(
    "--join",
    "address",
    metavar="HOST:PORT",
    type=_Address(),
    help="Run trials for a search that serves there; at any time.",
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
    host: str | None,
    port: int | None,
    address: str | None,
    recycle: int,
    threads: int | None,
) -> Outcome:
    """Search for a pattern of sharing, and report what was found.

    MODULE is a Python file or an importable module. Its FUNCTION takes no arguments
    and returns a tuner of keras_share.search and a dictionary with the arguments of
    its search.

    A search that was interrupted goes on where it was when it is started again. Show
    it meanwhile, or draw it, with keras-share report.
    """
    if workers is None and (host, port, address, threads) != (None,) * 4:
        raise click.UsageError("--host, --port, --join and --threads need --workers.")
    if address is not None and (host is not None or port is not None or not workers):
        raise click.UsageError(
            "--join needs --workers of at least 1, and neither --host nor --port, "
            "which are for the first machine."
        )
    if workers == 0 and host is None:
        raise click.UsageError(
            "--workers 0 needs --host, so that workers of other machines can join."
        )
    if workers is None:
        return _alone(function)
    from keras_share.search import launching

    launch = launching.Launch(function, workers, recycle, threads)
    if address is None:
        return show(launching.search(launch, host or _LOCAL, port))
    done = launching.join(launch, address).records
    return Outcome(
        f"The search is over. This machine ran {len(done)} of its trials; all results "
        f"are where {address} is.",
        {"trials": sorted(done)},
    )


def _alone(function: str) -> Outcome:
    """Searches in this process."""
    from keras_share.search.launching.script import faults_of, prepare

    tuner, arguments = prepare(function)
    with faults_of(function):
        tuner.search(**arguments)
    return show(tuner.results)
