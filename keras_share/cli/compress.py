"""`keras-share compress`."""

import re
from collections.abc import Callable
from typing import Any

import click

from keras_share.cli.command import Command, Outcome
from keras_share.cli.export import TARGETS
from keras_share.cli.search import Function

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "Ki": 2**10, "Mi": 2**20}


class _Bytes(click.ParamType):
    """A number of bytes: 60000, 60k or 59Ki."""

    name = "bytes"

    def convert(self, value: Any, *context: Any) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(|k|M|Ki|Mi)B?", str(value))
        if found is None or not float(found[1]):
            self.fail(
                "A size must be a number of bytes, such as 60000, 60k (thousands) or "
                f"59Ki (of 1024). Received: {value}",
                *context,
            )
        return float(found[1]) * _UNITS[found[2]]


@click.command(
    cls=Command,
    short_help="Make a small file of a trained model.",
    epilog="""\b
      keras-share compress model.keras --data data.py:load --max-bytes 60k \\
          --output small
      keras-share compress net.py:build --widths 16,24,32 --data data.py:load \\
          --target micro --max-bytes 60k --max-memory 40k

    \b
    In data.py:
      def load():
          return (x_train, y_train), (x_val, y_val), (x_test, y_test)
    """,
)
@click.argument("model", metavar="MODEL")
@click.option(
    "--data",
    metavar="MODULE:FUNCTION",
    type=Function(),
    required=True,
    help="A function without arguments that returns what to train on, what to choose "
    "by and, if you have it, what to judge files on; each as Keras's fit takes it.",
)
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    type=click.Path(),
    default="compressed",
    show_default=True,
    help="Where to write the file, the model and the report.",
)
@click.option("--max-bytes", type=_Bytes(), help="The most that the file may have.")
@click.option(
    "--max-latency",
    metavar="MS",
    type=click.FloatRange(min=0, min_open=True),
    help="The longest that a run may take on this machine.",
)
@click.option(
    "--max-memory",
    type=_Bytes(),
    help="The most memory while it runs: of micro the arena, else as estimated.",
)
@click.option("--target", type=click.Choice(TARGETS), default="auto", show_default=True)
@click.option(
    "--objective",
    metavar="NAME",
    help="The metric to choose by, such as val_accuracy.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.01,
    show_default=True,
    help="Without a budget: how much of the original's score may be lost.",
)
@click.option("--trials", type=click.IntRange(min=1), default=20, show_default=True)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="For how many epochs each candidate is trained.",
)
@click.option(
    "--final-epochs",
    type=click.IntRange(min=1),
    help="For how many the finalists are. By default twice as many.",
)
@click.option(
    "--widths",
    metavar="N,N,...",
    help="Where MODEL is a function of the width: those to choose from.",
)
@click.option(
    "--quantization",
    "quantizations",
    metavar="NAME",
    multiple=True,
    help="A way of quantizing to choose from, such as int8 or int4; several times.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True))
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Tell what would be tried, and about how long it would take.",
)
def compress(model: str, data: str, widths: str | None, **options: Any) -> Outcome:
    """Make the smallest file of a trained model that keeps its accuracy.

    MODEL is a compiled model in a .keras file, or MODULE:FUNCTION, a function from a
    width to a compiled model. Tries which blocks share, how strictly, and in how many
    bits; each candidate learns from the original, and files are judged as they run.
    Whatever ends it, the same command goes on. Code 3 says that no file keeps the
    budget: what comes nearest was written.
    """
    from dataclasses import asdict

    from keras_share.search import compress
    from keras_share.search.compression.plan import Plan
    from keras_share.search.launching.script import faults_of

    given: Any = model
    load = _function(data)  # layers of the user's are known before a model is loaded
    if widths is not None:
        options["widths"] = [int(one) for one in _numbers(widths)]
        given = _function(Function().convert(model))
    with faults_of(data):
        samples = load()
    if not isinstance(samples, (tuple, list)) or len(samples) not in (2, 3):
        raise ValueError(
            f"{data} must return two or three things: what to train on, what to choose "
            f"by, and what to judge files on. Received: {type(samples).__name__}"
        )
    train, validation, *test = samples
    found = compress(
        given, train, validation, test=test[0] if test else None, **options
    )
    if isinstance(found, Plan):
        return Outcome(str(found), asdict(found))
    return Outcome(str(found), found.to_dict(), None if found.fits else found.reason)


def _function(name: str) -> Callable[..., Any]:
    from keras_share.search.launching.script import faults_of, load_module

    module, _, attribute = name.rpartition(":")
    with faults_of(name):
        return getattr(load_module(module), attribute)


def _numbers(text: str) -> list[str]:
    if not re.fullmatch(r"\s*\d+(\s*,\s*\d+)*\s*", text):
        raise click.BadParameter(
            f"Widths must be numbers with commas between. Received: {text}"
        )
    return text.split(",")
