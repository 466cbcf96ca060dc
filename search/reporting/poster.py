"""The report of a search as one picture, and its parts as one each."""

from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox

from keras_share.figures import PLAIN, new_figure
from keras_share.search.reporting.panes import cut
from keras_share.search.reporting.report import Line, Pane, Table, describe
from keras_share.search.reporting.strips import box

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

_ROWS = 12  # of a table
_PANE = 5.4, 4.3  # inches
_STYLE: dict[Any, Any] = {
    **PLAIN,
    **{"axes.labelsize": 8, "xtick.labelsize": 8, "ytick.labelsize": 8},
    **{"axes.titlesize": 8, "legend.fontsize": 7.5},
}


def draw_pane(pane: Pane) -> Figure:
    """One picture by itself, of a size that can be read on a phone."""
    with rc_context(_STYLE):
        figure = new_figure(4.6, 3.8, dpi=220)
        pane.draw(figure.add_subplot())
    return figure


def draw_poster(results: "SearchResults") -> Figure:
    """All pictures of a search, the summary above them and the best trials below."""
    report = describe(results)
    panes = [*report.fronts, *report.course, *report.matters]
    across = min(3, max(len(panes), 2))
    down = -(-len(panes) // across)
    tables = {"Trials": (report.best, report.best.lines(_ROWS))}
    if report.front:
        front = report.front, report.front.lines(2 * _ROWS)
        tables = {"Pareto front": front, "Best trials": tables["Trials"]}
    rows = max(len(lines) for _, lines in tables.values())
    strips = [
        box(line.patterns).height
        for _, lines in tables.values()
        for line in lines
        if line.patterns
    ]
    heights = [
        0.2 * len(report.summary) + 0.5,
        *[_PANE[1]] * down,
        max(0.22, max(strips, default=0) / 72 + 0.08) * (rows + 2) + 0.2,
    ]
    with rc_context(_STYLE):
        figure = new_figure(_PANE[0] * across, sum(heights), dpi=130)
        parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)
        top, *middle, bottom = parts[:, 0]
        top.suptitle(cut(report.title, 60), x=0.02, ha="left", fontsize=14)
        found = "\n".join(f"{about}: {text}" for about, text in report.summary.items())
        top.text(0.02, 0, found, va="bottom", fontsize=10)
        widths = [_width(table) for table, _ in tables.values()]
        below = bottom.subplots(1, len(tables), squeeze=False, width_ratios=widths)[0]
        for ax, (title, (table, lines)) in zip(below, tables.items(), strict=True):
            ax.set_ylim(rows + 1.5, -0.5)
            _draw_table(ax, title, table, lines)
        axes = [ax for part in middle for ax in part.subplots(1, across)]
        for ax in axes[len(panes) :]:
            ax.axis("off")
        # Fronts come last: their strips take the room that the others leave.
        for pane, ax in sorted(
            zip(panes, axes, strict=False), key=lambda drawn: drawn[0].about == "front"
        ):
            pane.draw(ax)
    return figure


def _width(table: Table) -> int:
    return len(table.columns) + 3  # place and trial, and a strip as wide as two


def _draw_table(ax: Axes, title: str, table: Table, lines: list[Line]) -> None:
    """Trials with their patterns, each one unit high."""
    places = [0.1, 0.4, *(i + 2.6 for i in range(len(table.columns)))]
    ax.axis("off")
    ax.set_xlim(0, _width(table))
    style: dict[str, Any] = {"fontsize": 8, "va": "center"}
    ax.text(0.1, 0, title, weight="bold", fontsize=10, va="center")
    for x, text in zip(places, ["", "trial", *table.titles], strict=True):
        ax.text(x, 1, cut(text), weight="bold", **style)
    for y, line in enumerate(lines, start=2):
        cells = str(line.place), line.trial_id, *line.cells
        for x, text in zip(places, cells, strict=True):
            ax.text(x, y, text, **style)
        if line.patterns:
            strip = AnnotationBbox(
                box(line.patterns), (1, y), box_alignment=(0, 0.5), frameon=False, pad=0
            )
            strip.set_in_layout(False)
            ax.add_artist(strip)
