"""The report of a search as one picture, and its parts as one each."""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox

from keras_share.search.project.choices import chosen_patterns
from keras_share.search.reporting import figures
from keras_share.search.reporting.course import course
from keras_share.search.reporting.front import PLAIN, draw_front
from keras_share.search.reporting.importance import importance
from keras_share.search.reporting.pairs import PairEffects, pair_effects
from keras_share.search.reporting.strips import box
from keras_share.search.reporting.summary import number, summary
from keras_share.search.reporting.trials import MIN_TRIALS

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

Draw = Callable[[Axes], None]

_ROWS = 12  # of a table
_PANE = 5.4, 4.3  # inches
_STYLE = {
    **PLAIN,
    **{"axes.labelsize": 8, "xtick.labelsize": 8, "ytick.labelsize": 8},
    **{"axes.titlesize": 8, "legend.fontsize": 7.5},
}

TOO_FEW = (
    "Which sites like to share, and what each hyperparameter matters, can only be "
    f"estimated from {MIN_TRIALS} completed trials or more, with different scores."
)


def panes(results: "SearchResults") -> Iterator[tuple[str, Draw]]:
    """What there is to draw of a search: what each picture is about, and who draws it.

    The fronts come last: they need to know how much room the others leave.
    """
    objective = results.objective
    direction = "max" if results.sign(objective) < 0 else "min"
    passed = course(results)
    if passed["score"].notna().any():
        yield "score", lambda ax: figures.draw_scores(ax, passed, objective)
    if passed["volume"].notna().any():
        yield "volume", lambda ax: figures.draw_volume(ax, passed)
    table = importance(results)
    effects = pair_effects(results)
    for pairs in effects:
        yield "pairs", _drawer(pairs, objective, direction)
    if table is not None and len(table):
        names = {pairs.name for pairs in effects}
        yield "importance", lambda ax: figures.draw_importance(ax, table, names)
    if passed["score"].notna().any():
        columns = results.default_columns()
        for x, y in combinations(columns, 2):
            yield "front", _front_drawer(results, x, y, columns)


def draw_pane(draw: Draw) -> Figure:
    """One picture by itself, of a size that can be read on a phone."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 3.8), dpi=220, layout="constrained")
        draw(figure.add_subplot())
    return figure


def draw_poster(results: "SearchResults") -> Figure:
    """All pictures of a search, the summary above them and the best trials below."""
    with rc_context(_STYLE):
        drawn = list(panes(results))
        across = min(3, max(len(drawn), 2))
        down = -(-len(drawn) // across)
        lines = [f"{about}: {text}" for about, text in summary(results).items()]
        tables = _tables(results)
        rows = max(len(table) for table in tables.values())
        heights = [
            0.2 * len(lines) + 0.5,
            *[_PANE[1]] * down,
            _row_height(results) * (rows + 2) + 0.2,
        ]
        figure = Figure(
            figsize=(_PANE[0] * across, sum(heights)), dpi=130, layout="constrained"
        )
        parts = figure.subfigures(len(heights), 1, height_ratios=heights)
        heading = f"Search for {figures.cut(results.objective)}"
        parts[0].suptitle(heading, x=0.02, ha="left", fontsize=14)
        parts[0].text(0.02, 0, "\n".join(lines), va="bottom", fontsize=10)
        bottom = parts[-1].subplots(1, len(tables), squeeze=False)[0]
        for ax, (about, table) in zip(bottom, tables.items(), strict=True):
            _draw_table(ax, results, about, table, rows)
        axes = [ax for part in parts[1:-1] for ax in part.subplots(1, across)]
        # Fronts first to the eye, and last to the pen.
        fronts = sum(about == "front" for about, _ in drawn)
        for ax in axes[len(drawn) :]:
            ax.axis("off")
        axes = axes[fronts : len(drawn)] + axes[:fronts]
        for (_, draw), ax in zip(drawn, axes, strict=True):
            draw(ax)
    return figure


def _drawer(pairs: PairEffects, objective: str, direction: str) -> Draw:
    return lambda ax: figures.draw_pairs(ax, pairs, objective, direction)


def _front_drawer(
    results: "SearchResults", x: str, y: str, columns: tuple[str, ...]
) -> Draw:
    return lambda ax: draw_front(results, x, y, ax, columns)


def _tables(results: "SearchResults") -> dict[str, pd.DataFrame]:
    """The tables below the pictures, by what they are about."""
    best = results.leaderboard()[:_ROWS]
    tables = {f"Best {figures.cut(results.objective)}": best}
    if best[results.objective].notna().any():
        tables = {"Pareto front": results.pareto_front()[: 2 * _ROWS], **tables}
    return tables


def _row_height(results: "SearchResults") -> float:
    """Inches that the strips of a trial need."""
    patterns = map(chosen_patterns, results.rows)
    return max([0.22, *(box(p).height / 72 + 0.08 for p in patterns if p)])


def _draw_table(
    ax: Axes, results: "SearchResults", about: str, table: pd.DataFrame, rows: int
) -> None:
    """Trials with their patterns, in an axis with room for a number of rows."""
    by_id = {row["trial_id"]: row for row in results.rows}
    columns = list(dict.fromkeys((*results.default_columns(), results.objective)))
    titles = ["", "trial", *columns, "seconds", "status"]
    places = [0.1, 0.4, *(i + 2.6 for i in range(len(titles) - 2))]
    ax.axis("off")
    ax.set_xlim(0, len(titles) + 1)
    ax.set_ylim(rows + 1.5, -0.5)
    style = {"fontsize": 8, "va": "center"}
    ax.text(0.1, 0, about, weight="bold", fontsize=10, va="center")
    for x, text in zip(places, titles, strict=True):
        ax.text(x, 1, figures.cut(text), weight="bold", **style)
    for y, row in enumerate(table.to_dict("records"), start=2):
        values = [y - 1, row["trial_id"], *(row[column] for column in columns)]
        values += [row["seconds"], row["status"].lower()]
        for x, value in zip(places, values, strict=True):
            ax.text(x, y, number(value), **style)
        patterns = chosen_patterns(by_id[row["trial_id"]])
        if patterns:
            strip = AnnotationBbox(
                box(patterns), (1, y), box_alignment=(0, 0.5), frameon=False, pad=0
            )
            strip.set_in_layout(False)
            ax.add_artist(strip)
