"""The command line: `keras-share`."""

import io
import os
import sys

import click

from keras_share.cli.audit import audit
from keras_share.cli.benchmark import benchmark
from keras_share.cli.compress import compress
from keras_share.cli.dedupe import dedupe
from keras_share.cli.export import export
from keras_share.cli.report import report
from keras_share.cli.roll import roll
from keras_share.cli.search import search
from keras_share.version import __version__


@click.group(
    name="keras-share",
    epilog="""\b
    Exit codes:
      0    done
      1    a file or the data is at fault
      2    the command is not written as --help says
      3    done, but --strict or a budget asked for what does not hold
      70   a bug of keras-share; --debug prints the traceback
      130  interrupted
    """,
)
@click.version_option(__version__, prog_name="keras-share")
def program() -> None:
    """Share weights across layers, and keep them shared on the device.

    audit, roll, dedupe and benchmark work on any .tflite file. Every command takes
    --json, which prints one JSON document to stdout; all else goes to stderr.
    """


for command in (audit, roll, dedupe, benchmark, export, search, report, compress):
    program.add_command(command)


def main() -> None:
    """Runs the program with the arguments of the process."""
    # Before TensorFlow and the processes that are started read it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Pipes of some systems can't take every letter of a file's names.
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(errors="backslashreplace")
    program(prog_name="keras-share")


if __name__ == "__main__":
    main()
