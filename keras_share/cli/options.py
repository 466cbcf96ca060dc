"""Arguments and options that several commands have."""

import os
from pathlib import Path
from typing import Any

import click

from keras_share.figures import FORMATS

source = click.argument("source", metavar="FILE", type=click.Path())
output = click.option(
    "-o",
    "--output",
    "output",
    metavar="OUT",
    type=click.Path(),
    required=True,
    help="Where to write the file, whole or not at all.",
)

timeout = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Time for the comparison of a rolled file with the unrolled one.",
)


class Picture(click.Path):
    """A path to write a picture to: told before the work if it has another ending."""

    def convert(self, value: Any, *context: Any) -> str:
        path = os.fsdecode(super().convert(value, *context))
        if Path(path).suffix.lower() not in FORMATS:
            self.fail(
                f"A picture ends in {', '.join(FORMATS)}. Received: {path}", *context
            )
        return path
