"""The heat map of `sharing_signals`."""

import os
from typing import TYPE_CHECKING

import numpy as np

from keras_share import figures

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NUMBERED = 12  # sites; in more cells numbers would be too small to read
_WORST = 1  # more is no worse: the outputs tell nothing of those of before


def plot_signals(
    signals: "pandas.DataFrame", to_file: str | os.PathLike | None = None
) -> "Figure":
    """Draws what `sharing_signals` found: a cell for each pair of sites.

    Each kind has a panel. The darker a cell, the less the outputs change if its two
    sites share.

    Args:
        signals: What `sharing_signals` returned.
        to_file: Where to write the picture: a path that ends in `.png`, `.svg` or
            `.pdf`. None writes nothing.

    Returns:
        The figure.

    Raises:
        ValueError: If `signals` has no rows, or `to_file` has another ending.
        OSError: If the folder of `to_file` does not exist or cannot be written.

    Example:
    >>> import pandas
    >>> from keras_share.retrofit import plot_signals
    >>> pairs = [("d", 0, 1, 0.5), ("d", 0, 2, 0.1), ("d", 1, 2, 0.6)]
    >>> signals = pandas.DataFrame(pairs, columns=["kind", "site", "other", "change"])
    >>> figure = plot_signals(signals, "signals.png")
    """
    figures.check_picture(to_file)
    if signals.empty:
        raise ValueError(
            "`signals` must have a row for at least one pair of sites. Received: a "
            "table without rows"
        )
    kinds = list(signals.groupby("kind", sort=False))
    figure = figures.new_figure(4.2 * min(len(kinds), 3), 3.6 * -(-len(kinds) // 3))
    axes = figure.subplots(-(-len(kinds) // 3), min(len(kinds), 3), squeeze=False)
    for ax in axes.flat[len(kinds) :]:
        ax.set_visible(False)
    for ax, (kind, pairs) in zip(axes.flat, kinds, strict=False):
        _draw(ax, str(kind), pairs)
    figures.save(figure, to_file)
    return figure


def _draw(ax: "Axes", kind: str, pairs: "pandas.DataFrame") -> None:
    size = int(pairs["other"].max()) + 1
    square = np.full((size, size), np.nan)
    square[pairs["other"], pairs["site"]] = pairs["change"]
    image = ax.imshow(square, cmap="Blues_r", vmin=0, vmax=_WORST)
    if size <= _NUMBERED:
        for site, other, change in zip(
            pairs["site"], pairs["other"], pairs["change"], strict=True
        ):
            color = "white" if change < _WORST / 2 else "black"
            text = (
                f"{change:.2f}"
                if 0.005 <= change < 100
                else ("0.00" if change < 1 else ">99")
            )
            ax.text(site, other, text, color=color, ha="center", va="center", size=7)
    every = range(0, size, max(1, size // _NUMBERED))
    ax.set_xticks(every)
    ax.set_yticks(every)
    ax.set_xlim(-0.5, size - 1.5)
    ax.set_ylim(size - 0.5, 0.5)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("site")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, extend="max")
    bar.set_label("change of the outputs, in variances")
    ax.set_title(f"from '{kind}' on", loc="left", fontsize=9, parse_math=False)
