"""The picture of the example: accuracy against latency, memory and size of the file."""

from pathlib import Path

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from keras_share import figures

_COLORS = {
    "dense": figures.GRAY,
    "tied": figures.BLUE,
    "relaxed": figures.VERMILION,
    "small": figures.ORANGE,
}
_MARKERS = {"float32": "o", "dynamic": "s", "int8": "^"}
_PANELS = {
    "median_ms": "latency of one image, ms",
    "grown_mb": "resident memory, MB",
    "file_bytes": "file, KB",
}


def pareto_front(table: pd.DataFrame, cost: str) -> pd.DataFrame:
    """The files than which no other is as accurate and costs as little, by cost."""
    # Memory is not measured on every system.
    ordered = table.dropna(subset=cost).sort_values(
        [cost, "accuracy"], ascending=[True, False]
    )
    best_before = ordered.accuracy.cummax().shift(fill_value=-1.0)
    return ordered[ordered.accuracy > best_before]


def draw(table: pd.DataFrame, num_images: int, path: Path) -> None:
    """Draws each file, a line from unrolled to rolled, and the Pareto fronts.

    Args:
        table: A row for each file.
        num_images: Number of test images, from which the error of an accuracy follows.
        path: Where to write the picture.
    """
    figure = figures.new_figure(11, 4.2)
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for ax, (cost, title) in zip(panels, _PANELS.items(), strict=True):
        scaled = table.assign(file_bytes=table.file_bytes / 1024)
        front = pareto_front(scaled, cost)
        ax.step(front[cost], front.accuracy, where="post", color="0.75", lw=1, zorder=0)
        for _, pair in scaled.groupby(["network", "precision"]):
            color = _COLORS[pair.network.iloc[0]]
            ax.plot(pair[cost], pair.accuracy, color=color, lw=1, alpha=0.5)
        for row in scaled.to_dict("records"):
            color = _COLORS[row["network"]]
            face = color if row["rolled"] else "white"
            style = {"color": color, "markerfacecolor": face, "markersize": 7}
            ax.plot(row[cost], row["accuracy"], _MARKERS[row["precision"]], **style)
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel(title)
        figures.tidy(ax)
    mean = table.accuracy.mean()
    error = (mean * (1 - mean) / num_images) ** 0.5
    panels[0].set_ylabel(f"accuracy on {num_images:,} test images (\u00b1 {error:.3f})")
    figure.legend(handles=_legend(), loc="outside right center", frameon=False)
    figures.save(figure, path)


def _legend() -> list[Line2D]:
    def entry(label: str, marker: str, color: str, face: str) -> Line2D:
        return Line2D([], [], ls="", marker=marker, c=color, mfc=face, label=label)

    return [
        *(entry(name, "o", color, color) for name, color in _COLORS.items()),
        *(entry(name, marker, "0.3", "white") for name, marker in _MARKERS.items()),
        entry("rolled", "o", "0.3", "0.3"),
        entry("not rolled", "o", "0.3", "white"),
        Line2D([], [], color="0.75", lw=1, label="Pareto front"),
    ]
