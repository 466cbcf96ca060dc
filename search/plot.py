"""The picture of a search: objective against size, with the Pareto front."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

_TITLES = {"exported_bytes": "size of the exported file (KB)"}
# Where a label may stand, in points from its mark: best place first.
_PLACES = [
    (dx, dy)
    for distance in (7, 16, 28, 42, 60)
    for dx, dy in (
        (-distance, distance),
        (distance, -distance),
        (-distance, 0),
        (distance, 0),
        (0, distance),
        (0, -distance),
        (distance, distance),
        (-distance, -distance),
    )
]


def draw_pareto(
    trials: pd.DataFrame, front: pd.DataFrame, x: str, y: str, ax: Axes | None = None
) -> Axes:
    """Draws `trials` as points colored by `num_groups`, and `front` as a step line.

    Only points of the front are labeled, each with its pattern.
    """
    if ax is None:
        # Not pyplot's: no window, no global state.
        ax = Figure(figsize=(7.5, 5), dpi=150, layout="constrained").add_subplot()
    unit = 1024 if x.endswith("_bytes") else 1
    xs, ys = trials[x].astype(float) / unit, trials[y].astype(float)
    front_xs, front_ys = front[x].astype(float) / unit, front[y].astype(float)

    ax.step(front_xs, front_ys, where="post", color="0.4", lw=1.2, label="Pareto front")
    groups = trials["num_groups"].astype(float)
    if groups.notna().all():
        _scatter_by_groups(ax, xs, ys, groups)
    else:
        ax.scatter(xs, ys, s=36, color="C0", zorder=3)
    ax.scatter(front_xs, front_ys, s=90, facecolors="none", edgecolors="0.2", zorder=4)
    ax.set_xlabel(_TITLES.get(x, x))
    ax.set_ylabel(y)
    ax.grid(alpha=0.25)
    ax.margins(0.12)
    ax.legend(loc="best", fontsize=8)
    _label(ax, front["pattern"], np.c_[front_xs, front_ys], np.c_[xs, ys])
    return ax


def _scatter_by_groups(
    ax: Axes, xs: pd.Series, ys: pd.Series, groups: pd.Series
) -> None:
    low, high = int(groups.min()), int(groups.max())
    colors = colormaps["viridis"]
    norm = BoundaryNorm(np.arange(low, high + 2) - 0.5, colors.N)
    marks = ax.scatter(xs, ys, c=groups, cmap=colors, norm=norm, s=36, zorder=3)
    bar = ax.figure.colorbar(marks, ax=ax, label="number of groups")
    bar.ax.yaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    bar.ax.minorticks_off()


def _label(ax: Axes, texts: pd.Series, points: np.ndarray, marks: np.ndarray) -> None:
    """Writes `texts` near `points`, each where it covers no label, mark or edge."""
    ax.figure.draw_without_rendering()  # the layout decides where points lie
    dot = 6 * ax.figure.dpi / 72
    taken = [
        Bbox.from_bounds(x - dot / 2, y - dot / 2, dot, dot)
        for x, y in ax.transData.transform(marks)
    ]
    legend = ax.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent())
    # Nothing lies beyond the front: above it for a maximum, below for a minimum.
    up = 1 if points[-1, 1] >= points[0, 1] else -1
    for text, point in zip(texts, points, strict=True):
        label = ax.annotate(
            text,
            point,
            xytext=(0, 0),
            textcoords="offset points",
            family="monospace",
            fontsize=8,
            zorder=5,
            arrowprops={"arrowstyle": "-", "color": "0.6", "lw": 0.6, "shrinkB": 4},
        )
        label.set_in_layout(False)  # or the points move again
        crowding = []
        for dx, dy in _PLACES:
            box = _place(label, dx, up * dy)
            inside = ax.bbox.contains(*box.min) and ax.bbox.contains(*box.max)
            crowding.append(box.count_overlaps(taken) + (0 if inside else 10))
            if crowding[-1] == 0:
                break
        dx, dy = _PLACES[int(np.argmin(crowding))]
        taken.append(_place(label, dx, up * dy))


def _place(label: Annotation, dx: float, dy: float) -> Bbox:
    """Moves a label and returns the box of its text."""
    label.set_position((dx, dy))
    label.set_horizontalalignment({-1: "right", 0: "center", 1: "left"}[np.sign(dx)])
    label.set_verticalalignment({-1: "top", 0: "center", 1: "bottom"}[np.sign(dy)])
    label.get_window_extent()  # of text and line; moves both first
    return Text.get_window_extent(label).padded(1)
