"""The picture of a Pareto front, with the pattern of each of its trials."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.ticker import MaxNLocator

from keras_share.figures import PLAIN, VERMILION, new_figure

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

_TITLES = {
    "exported_bytes": "size of the exported file (kB)",
    "weight_bytes": "stored weights (kB)",
    "memory_bytes": "memory (kB)",
    "latency_ms": "latency (ms)",
}
_LONGEST = 24  # letters of a pattern; the table of a report draws longer ones


def draw_front(
    results: "SearchResults",
    x: str,
    y: str,
    ax: Axes | None = None,
    columns: tuple[str, ...] | None = None,
) -> Axes:
    """Draws trials as points colored by `num_groups`, those of the front numbered.

    A front of two columns is a line, along which each trial has its pattern beside it.
    One of more columns (`columns`) is a cloud: its numbers must do.
    """
    columns = columns or (x, y)
    if ax is None:
        ax = new_figure(7.5, 5).add_subplot()
    trials, front = results.completed(*columns), results.pareto_front(*columns)
    with rc_context(PLAIN):
        points, marks = _scaled(trials, x, y), _scaled(front, x, y)
        if len(columns) == 2 and len(front) > 1:
            ax.step(*marks.T, where="post", color="0.4", lw=1.2, label="Pareto front")
        _scatter_by_groups(ax, points, trials["num_groups"].astype(float))
        all_x, all_y = marks.T
        ax.scatter(all_x, all_y, s=95, facecolors="white", edgecolors="0.2", zorder=4)
        if len(front) > 2:
            knee_x, knee_y = marks[results.knee(*columns).name]
            ax.scatter(
                knee_x,
                knee_y,
                s=110,
                facecolors="white",
                edgecolors=VERMILION,
                linewidths=2.2,
                zorder=4.5,
                label="knee",
            )
        center: dict[str, Any] = {"ha": "center", "va": "center_baseline"}
        for number, (mark_x, mark_y) in enumerate(marks, start=1):
            ax.text(mark_x, mark_y, str(number), fontsize=6, zorder=5, **center)
        ax.set_xlabel(title(x), parse_math=False)
        ax.set_ylabel(title(y), parse_math=False)
        ax.grid(alpha=0.25)
        ax.margins(0.16)
        if len(columns) == 2:
            _name_patterns(ax, front["pattern"], marks)
        if ax.get_legend_handles_labels()[0]:
            # Above the axes, where it hides no trial.
            place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1)}
            ax.legend(frameon=False, ncols=2, **place)
    return ax


def title(column: str) -> str:
    """What is written at the axis of a column."""
    if column.endswith("_bytes"):
        return _TITLES.get(column, f"{column.removesuffix('_bytes')} (kB)")
    return _TITLES.get(column, column)


def scale(column: str) -> float:
    """What the numbers of a column are divided by for `title`."""
    return 1000 if column.endswith("_bytes") else 1


def _scaled(table: pd.DataFrame, x: str, y: str) -> np.ndarray:
    return np.stack([table[c].to_numpy(float) / scale(c) for c in (x, y)], axis=1)


def _scatter_by_groups(ax: Axes, points: np.ndarray, groups: pd.Series) -> None:
    x, y = points.T
    if groups.isna().any():
        ax.scatter(x, y, s=30, color="C0", zorder=3)
        return
    low, high = int(groups.min()), int(groups.max())
    colors = colormaps["viridis"]
    norm = BoundaryNorm(np.arange(low, high + 2) - 0.5, colors.N)
    marks = ax.scatter(x, y, c=groups, cmap=colors, norm=norm, s=30, zorder=3)
    if low < high:
        bar = ax.figure.colorbar(marks, ax=ax, label="number of groups")
        bar.ax.yaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        bar.ax.minorticks_off()


def _name_patterns(ax: Axes, patterns: Iterable[str], marks: np.ndarray) -> None:
    """Writes the pattern of each trial beside its mark, where nothing lies."""
    # Nothing lies beyond a front: above it for a maximum, below for a minimum.
    up = 1 if marks[-1, 1] >= marks[0, 1] else -1
    for pattern, mark in zip(patterns, marks, strict=True):
        if len(pattern) <= _LONGEST:
            ax.annotate(
                pattern,
                tuple(mark),
                xytext=(-6, 6 * up),
                textcoords="offset points",
                ha="right",
                va="bottom" if up > 0 else "top",
                family="monospace",
                fontsize=6.5,
            )
