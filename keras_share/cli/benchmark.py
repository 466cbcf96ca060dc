"""`keras-share benchmark`."""

import click

from keras_share.cli.command import Command, Outcome
from keras_share.cli.options import Picture
from keras_share.cli.progress import progress
from keras_share.tflite.runtimes.modes import MODES


@click.command(
    cls=Command,
    epilog="\n".join(
        [
            "\b\nModes:",
            *(f"  {mode:14}  {text}" for mode, text in MODES.items()),
            "\n\b",
            "  keras-share benchmark model.tflite rolled.tflite --plot both.png",
            "  keras-share benchmark model.tflite --mode interpreter --mode compiled",
        ]
    ),
)
@click.argument(
    "sources", metavar="FILE...", type=click.Path(), nargs=-1, required=True
)
@click.option(
    "--mode",
    "modes",
    type=click.Choice(list(MODES)),
    multiple=True,
    default=("interpreter",),
    show_default=True,
    help="The runtime; may be given several times.",
)
@click.option(
    "--threads",
    "num_threads",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Threads of the runtime.",
)
@click.option(
    "--runs",
    metavar="N",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="The least number of timed runs in each round.",
)
@click.option(
    "--rounds",
    metavar="N",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Rounds, of which the medians are taken.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    help="Time for each process.",
)
@click.option(
    "--plot",
    "to_file",
    metavar="PNG",
    type=Picture(),
    help="Where to draw latency and memory.",
)
def benchmark(
    sources: tuple[str, ...],
    modes: tuple[str, ...],
    num_threads: int,
    runs: int,
    rounds: int,
    timeout: float,
    to_file: str | None,
) -> Outcome:
    """Measure time and memory of .tflite files on this machine.

    Each FILE runs in each mode in a process of its own, in turns. A mode that can't
    run a FILE is told with the reason; if none runs, the code is 1.
    """
    from keras_share.atomic import check_writable
    from keras_share.cli.table import table
    from keras_share.tflite.runtimes.benchmark import benchmark
    from keras_share.tflite.runtimes.plot_benchmark import plot_benchmark

    if to_file is not None:
        check_writable(to_file)
    with progress("measuring") as update:
        report = benchmark(
            *sources,
            modes=modes,
            num_threads=num_threads,
            runs=runs,
            rounds=rounds,
            timeout=timeout,
            progress=update,
        )
    reasons = [
        f"{row.file}, {row.mode}: {row.error}" for row in report.rows if row.error
    ]
    if len(reasons) == len(report.rows):
        raise ValueError("No mode runs any of the files. " + "\n".join(reasons))
    frame = report.to_dataframe()
    if to_file is not None:
        plot_benchmark(frame, to_file)
    text = "\n".join([table(frame.drop(columns="error")), *reasons])
    return Outcome(text, report.to_dict()["rows"])
