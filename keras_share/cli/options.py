"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Any

import click

from keras_share.figures import FORMATS

source = click.argument("source", metavar="FILE", type=click.Path())
output = click.option(
    "-o",
    "--output",
    "path",
    metavar="OUT",
    type=click.Path(),
    required=True,
    help="Where to write the file, whole or not at all.",
)


class Picture(click.Path):
    """A path to write a picture to: told before the work if it has another ending."""

    def convert(self, value: Any, *context: Any) -> str:
        path = super().convert(value, *context)
        if Path(path).suffix.lower() not in FORMATS:
            self.fail(
                f"A picture ends in {', '.join(FORMATS)}. Received: {path}", *context
            )
        return path
