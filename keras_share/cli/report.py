"""`keras-share report`."""

from typing import TYPE_CHECKING

import click

from keras_share.cli.command import Command, Outcome
from keras_share.cli.options import Picture
from keras_share.cli.table import rows, table

if TYPE_CHECKING:
    from keras_share.search import SearchResults


@click.command(
    cls=Command,
    epilog="""\b
      keras-share report runs/sharing --html report.html
      keras-share report runs/sharing --column latency_ms --column val_loss
    """,
)
@click.argument("project_dir", metavar="FOLDER", type=click.Path())
@click.option(
    "--storage",
    metavar="URL",
    envvar="KERAS_SHARE_STORAGE",
    help="Where the study is kept, if it is not in FOLDER.",
)
@click.option(
    "--column",
    "columns",
    metavar="COLUMN",
    multiple=True,
    help="Of the Pareto front; to be repeated. By default the objectives of the "
    "search, or exported_bytes (parameters, or num_groups) and its only "
    "objective.",
)
@click.option(
    "--csv", metavar="CSV", type=click.Path(), help="Where to write the leaderboard."
)
@click.option(
    "--html",
    metavar="HTML",
    type=click.Path(),
    help="Where to write the report for people, as one page.",
)
@click.option(
    "--winner",
    metavar="TFLITE",
    type=click.Path(),
    help="The file made from the best trial: its audit is added to the page.",
)
@click.option(
    "--plot",
    metavar="PNG",
    type=Picture(),
    help="Where to draw the Pareto front, of its last two columns.",
)
def report(
    project_dir: str,
    storage: str | None,
    columns: tuple[str, ...],
    csv: str | None,
    html: str | None,
    winner: str | None,
    plot: str | None,
) -> Outcome:
    """Show what a search has found so far.

    FOLDER is the tuner's directory joined with its project_name; the search may still
    run. Shows all trials, best first, and the Pareto front: those that no other one
    beats in all columns at once.
    """
    from keras_share.atomic import check_writable
    from keras_share.search import SearchResults

    if winner is not None and html is None:
        raise click.UsageError("--winner is told on the page: add --html report.html.")
    if plot is not None and len(columns) == 1:
        raise click.UsageError("--plot draws two columns: repeat --column, or omit it.")
    for path in (csv, html, plot):
        if path is not None:
            check_writable(path)
    results = SearchResults.load(project_dir, storage)
    outcome = show(results, columns)
    if csv is not None:
        results.to_csv(csv)
    if html is not None:
        results.to_html(html, winner)
    if plot is not None:
        axes = (columns[-2], columns[-1]) if columns else None
        results.plot_pareto(plot, columns=axes)
    return outcome


def show(results: "SearchResults", columns: tuple[str, ...] = ()) -> Outcome:
    """The leaderboard and, if a trial was completed, the Pareto front and its knee."""
    columns = columns or results.default_columns()
    board = results.leaderboard()
    text, front, knee, volume = table(board), board[:0], None, None
    if len(results.completed()):
        front = results.pareto_front(*columns)
        volume = results.hypervolume(*columns)
        shown = dict.fromkeys(("pattern", "num_groups", *columns, "trial_id"))
        text += f"\n\nPareto front\n{table(front[list(shown)])}"
    if len(front):
        knee = results.knee(*columns)["trial_id"]
        text += f"\n\nknee of the front: trial {knee}"
    facts = {
        "objective": results.objective,
        "direction": results.direction,
        "objectives": results.objectives,
        "leaderboard": rows(board),
        "pareto_front": rows(front),
        "knee": knee,
        "hypervolume": volume,
    }
    return Outcome(text, facts)
