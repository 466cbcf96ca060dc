"""`keras-share dedupe`."""

import click

from keras_share.cli import options
from keras_share.cli.command import Command, Outcome


@click.command(cls=Command, epilog="keras-share dedupe model.tflite -o smaller.tflite")
@options.source
@options.output
def dedupe(source: str, path: str) -> Outcome:
    """Store weights with the same content once.

    Works on any .tflite FILE. The outputs stay the same to the bit. OUT may be FILE
    itself.
    """
    from keras_share.atomic import check_writable, write_atomically
    from keras_share.tflite.file.dedupe import dedupe
    from keras_share.tflite.file.flatbuffer import contents

    check_writable(path)
    data = contents(source)
    smaller = dedupe(data)
    write_atomically(path, smaller)
    sizes = [len(data), len(smaller)]
    text = "bytes {:,} -> {:,}".format(*sizes)
    if smaller is data:
        text = f"nothing is stored twice: {len(data):,} bytes"
    return Outcome(text, {"bytes": sizes})
