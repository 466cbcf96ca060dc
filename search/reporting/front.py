"""The picture of a Pareto front, with the pattern of each of its trials."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from keras_share.figures import PLAIN, VERMILION, new_figure
from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.reporting.strips import box

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

_TITLES = {
    "exported_bytes": "size of the exported file (KB)",
    "weight_bytes": "stored weights (KB)",
    "memory_bytes": "memory (KB)",
    "latency_ms": "latency (ms)",
}
# Where a strip may stand, in points from its mark to its nearest edge: best first.
_PLACES = [
    (dx, dy, distance)
    for distance in (8, 15, 24, 36, 50)
    for dx, dy in (
        *((-1, 1), (1, -1), (0, 1), (0, -1)),
        *((-1, 0), (1, 0), (1, 1), (-1, -1)),
    )
]


def draw_front(
    results: "SearchResults",
    x: str,
    y: str,
    ax: Axes | None = None,
    columns: tuple[str, ...] | None = None,
) -> Axes:
    """Draws trials as points colored by `num_groups`, those of the front numbered.

    A front of two columns is a line, along which each trial has its pattern beside it,
    if there is room. One of more columns is a cloud: its numbers must do.

    Args:
        results: Results with completed trials.
        x: Column of the horizontal axis.
        y: Column of the vertical axis.
        ax: Where to draw; by default a new figure.
        columns: The columns that the front is of, if it is of more than these two.
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
        by_id = {one.trial_id: one.patterns for one in results.records}
        patterns = [by_id[trial_id] for trial_id in front["trial_id"]]
        _draw_legend(ax, max(map(list, patterns), key=len) if len(columns) == 2 else [])
        if len(columns) == 2:
            _draw_strips(ax, patterns, marks, points)
    return ax


def title(column: str) -> str:
    """What is written at the axis of a column."""
    if column.endswith("_bytes"):
        return _TITLES.get(column, f"{column.removesuffix('_bytes')} (KB)")
    return _TITLES.get(column, column)


def scale(column: str) -> float:
    """What the numbers of a column are divided by for `title`."""
    return 1024 if column.endswith("_bytes") else 1


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


def _draw_legend(ax: Axes, names: Sequence[str]) -> None:
    """Above the axes, where it hides no trial."""
    handles, labels = ax.get_legend_handles_labels()
    if len(names) > 1:
        handles.append(Line2D([], [], linestyle=""))
        labels.append(f"strips: {', '.join(names)}")
    if handles:
        ax.legend(
            handles,
            labels,
            frameon=False,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=len(handles),
        )


def _draw_strips(
    ax: Axes,
    patterns: list[Mapping[str, SharingPattern]],
    points: np.ndarray,
    marks: np.ndarray,
) -> None:
    """Draws strips near `points`, each where it covers no strip, mark or edge."""
    # The layout decides where points lie.
    ax.figure.canvas.figure.draw_without_rendering()
    pixels = ax.figure.dpi / 72
    taken = [
        Bbox.from_bounds(x - size / 2, y - size / 2, size, size)
        for places, size in ((marks, 6 * pixels), (points, 11 * pixels))
        for x, y in ax.transData.transform(places)
    ]
    if ax.lines:
        corners = ax.transData.transform(np.repeat(points, 2, axis=0))
        corners[1:-1:2, 0] = corners[2::2, 0]  # the steps of the line
        taken += [Bbox([a, b]).padded(1) for a, b in pairwise(corners[:-1])]
    # Nothing lies beyond the front: above it for a maximum, below for a minimum.
    up = 1 if points[-1, 1] >= points[0, 1] else -1
    for of_trial, point in zip(patterns, points, strict=True):
        if not of_trial:
            continue
        strip = box(of_trial)
        at = ax.transData.transform(point)
        for dx, dy, distance in _PLACES:
            offset = np.array(
                [
                    dx * (distance + strip.width / 2),
                    up * dy * (distance + strip.height / 2),
                ]
            )
            size = np.array([strip.width, strip.height])
            low = at + (offset - size / 2 - 1) * pixels
            covered = Bbox.from_bounds(*low, *((size + 2) * pixels))
            inside = ax.bbox.contains(*covered.min) and ax.bbox.contains(*covered.max)
            if inside and not covered.count_overlaps(taken):
                _place(ax, strip, point, offset)
                taken.append(covered)
                break


def _place(ax: Axes, strip, point: np.ndarray, offset: np.ndarray) -> None:
    label = AnnotationBbox(
        strip,
        tuple(point),
        xybox=tuple(offset),
        boxcoords="offset points",
        frameon=False,
        pad=0,
        arrowprops={"arrowstyle": "-", "color": "0.6", "lw": 0.6, "shrinkB": 5},
        zorder=3.5,
    )
    label.set_in_layout(False)  # or the points move again
    ax.add_artist(label)
