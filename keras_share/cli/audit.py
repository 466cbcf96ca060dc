"""`keras-share audit`."""

import click

from keras_share.cli import options
from keras_share.cli.command import Command, Outcome


@click.command(
    cls=Command,
    epilog="""\b
      keras-share audit model.tflite
      keras-share audit model.tflite --model model.keras --strict
    """,
)
@options.source
@click.option(
    "--model",
    metavar="MODEL.keras",
    type=click.Path(),
    help="The Keras model that FILE was exported from: names the variable of each "
    "weight, and proves which kernels were stored several times.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="End with code 3 if a weight is stored twice, or a kernel of MODEL.keras is.",
)
def audit(source: str, model: str | None, strict: bool) -> Outcome:
    """Tell what a .tflite FILE stores and computes.

    Each weight with its uses, what is stored twice, what each kind of operator costs,
    and an estimate of the memory that the runtime takes, as it is and rolled.
    """
    from keras_share.tflite.inspect.audit import audit

    exported = None
    if model is not None:
        from keras_share.retrofit.keras_file import load_keras_file

        exported = load_keras_file(model)
    report = audit(source, exported)
    text = "\n".join(filter(None, (str(report), report.complaint())))
    failed = strict and (report.duplicate_bytes or report.untied)
    broken = (
        f"Each weight must be stored once. Received: {report.duplicate_bytes:,} bytes "
        f"of duplicates, {len(report.untied)} kernels of the model stored several times"
    )
    return Outcome(text, report.to_dict(), broken if failed else None)
