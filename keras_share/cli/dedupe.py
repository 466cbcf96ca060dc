"""`keras-share dedupe`."""

import click

from keras_share.cli import options
from keras_share.cli.command import Command, Outcome


@click.command(cls=Command, epilog="keras-share dedupe model.tflite -o smaller.tflite")
@options.source
@options.output
def dedupe(source: str, output: str) -> Outcome:
    """Store weights with the same content once.

    Works on any .tflite FILE. The outputs stay the same to the bit. OUT may be FILE
    itself.
    """
    from keras_share.tflite.file.dedupe import dedupe

    report = dedupe(source, output)
    return Outcome(str(report), report.to_dict())
