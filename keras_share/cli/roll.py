"""`keras-share roll`."""

import click

from keras_share.cli import options
from keras_share.cli.command import Command, Outcome
from keras_share.cli.progress import progress


@click.command(
    cls=Command, epilog="keras-share roll model.tflite -o rolled.tflite --strict"
)
@options.source
@options.output
@click.option(
    "--min-bytes",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Leave operators unrolled whose kernels have fewer bytes than this.",
)
@options.timeout
@click.option(
    "--strict",
    is_flag=True,
    help="End with code 3 if a kernel stays packed several times. OUT is written.",
)
def roll(
    source: str, output: str, min_bytes: int, timeout: float, strict: bool
) -> Outcome:
    """Make shared weights take memory once: for CPUs.

    Operators of the .tflite FILE that repeat around shared kernels become one
    subgraph, which is called wherever they were. The outputs of both files are
    compared before OUT is written. OUT may be FILE itself.
    """
    from keras_share.tflite.repeats.roll import roll

    with progress("rolling and comparing"):
        report = roll(source, output, min_bytes=min_bytes, timeout=timeout)
    failed = strict and report.left
    broken = f"{len(report.left)} kernels are still packed several times, see above."
    return Outcome(str(report), report.to_dict(), broken if failed else None)
