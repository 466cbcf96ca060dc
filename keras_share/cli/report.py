"""`keras-share report`."""

import json
from typing import TYPE_CHECKING

import click

from keras_share.cli.command import Command, Outcome
from keras_share.cli.options import Picture
from keras_share.cli.table import rows, table

if TYPE_CHECKING:
    from keras_share.search import SearchResults


@click.command(
    cls=Command,
    epilog="keras-share report runs/sharing --plot front.png --csv trials.csv",
)
@click.argument("project_dir", metavar="FOLDER", type=click.Path())
@click.option(
    "--x",
    metavar="COLUMN",
    help="Of the Pareto front. By default exported_bytes, or parameters where no "
    "trial was exported.",
)
@click.option(
    "--y", metavar="COLUMN", help="Of the Pareto front. By default the objective."
)
@click.option(
    "--csv", metavar="CSV", type=click.Path(), help="Where to write the leaderboard."
)
@click.option(
    "--plot", metavar="PNG", type=Picture(), help="Where to draw the Pareto front."
)
def report(
    project_dir: str, x: str | None, y: str | None, csv: str | None, plot: str | None
) -> Outcome:
    """Show what a search has found so far.

    FOLDER is the tuner's directory joined with its project_name; the search may still
    run. Shows all trials, best first, and the Pareto front: those that no other one
    beats in both columns at once.
    """
    from keras_share.files import check_writable
    from keras_share.search import SearchResults

    for path in (csv, plot):
        if path is not None:
            check_writable(path)
    try:
        results = SearchResults.load(project_dir)
        outcome = show(results, x, y)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(
            "`project_dir` must be a folder with what keras_share.search wrote. "
            f"Received: {project_dir!r} ({type(error).__name__}: {error})"
        ) from error
    if csv is not None:
        results.to_csv(csv)
    if plot is not None:
        results.plot_pareto(plot, x=x or _size(results), y=y)
    return outcome


def show(
    results: "SearchResults", x: str | None = None, y: str | None = None
) -> Outcome:
    """The leaderboard and, if a trial was completed, the Pareto front."""
    x, y = x or _size(results), y or results.objective
    board = results.leaderboard()
    text, front = table(board), board[:0]
    if board[results.objective].notna().any():
        front = results.pareto_front(x, y)
        columns = dict.fromkeys(("pattern", "num_groups", x, y, "trial_id"))
        text += f"\n\nPareto front\n{table(front[list(columns)])}"
    facts = {
        "objective": results.objective,
        "direction": results.direction,
        "leaderboard": rows(board),
        "pareto_front": rows(front),
    }
    return Outcome(text, facts)


def _size(results: "SearchResults") -> str:
    exported = results.leaderboard()["exported_bytes"].notna().any()
    return "exported_bytes" if exported else "parameters"
