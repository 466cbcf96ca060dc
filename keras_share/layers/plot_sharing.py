"""The picture of a stack: which site uses which weights, and where they are stored."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from keras_share import figures
from keras_share.layers.shared_stack import SharedStack
from keras_share.layers.sharing_table import (
    PRIVATE,
    REST,
    SharingRow,
    sharing_rows,
    sharing_totals,
)
from keras_share.layers.sublayers import sublayers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Style = dict[str, Any]
Part = list[tuple[SharingRow, Style]]  # of a block, site after site

_HATCHES = ("", "///", "...", r"\\", "xx", "---", "|||", "oo")
_REST, _PRIVATE = "0.78", "0.5"
_PALE = 0.3
# Heights in inches; the last one is that of a title and the numbers of the sites.
_CELL, _BARS, _TEXT = 0.29, 1.25, 1
# Points. A letter of a monospaced font is about 0.62 times as wide as high.
_LETTER, _SMALLEST, _ASPECT = 8, 5, 0.62
# Bars of less than this share of the highest one can't be seen.
_VISIBLE = 0.05


def plot_sharing(
    model: keras.Layer, to_file: str | os.PathLike | None = None
) -> "Figure":
    """Draws the sharing of a stack, or of every stack in a model.

    Each `SharedStack` has a panel with a column for each site. Above, a row of cells
    for each part of the block that shares on its own (`SharedStack.sharing`): a color
    and letter for each group, strong where the weights are stored and pale where a
    site uses them again; gray is what each site has for itself. Below, bars of the
    numbers of parameters that are stored at the site.

    Args:
        model: A built `SharedStack`, or a model or layer with some inside.
        to_file: Where to write the picture: a path that ends in `.png`, `.svg` or
            `.pdf`. None writes nothing.

    Returns:
        The figure.

    Raises:
        ValueError: If there is no `SharedStack`, one is not built, or `to_file` has
            another ending.
        OSError: If the folder of `to_file` does not exist or cannot be written.

    Example:
    >>> import keras, keras_share
    >>> from keras_share.layers.plot_sharing import plot_sharing
    >>> stack = keras_share.SharedStack(keras.layers.Dense(8), "cycle:2", num_sites=6)
    >>> stack.build((None, 8))
    >>> figure = plot_sharing(stack, "sharing.png")
    """
    figures.check_picture(to_file)
    stacks = [part for part in sublayers(model) if isinstance(part, SharedStack)]
    if not stacks:
        raise ValueError(
            "`model` must be a SharedStack or have one inside. Received: "
            f"{type(model).__name__} '{model.name}'. Build its repeated layers with "
            "keras_share.SharedStack(block, pattern)."
        )
    figure = _draw(stacks)
    figures.save(figure, to_file)
    return figure


def _draw(stacks: list[SharedStack]) -> "Figure":
    panels = [_parts(sharing_rows(stack)) for stack in stacks]
    num_sites = max(len(stack.sites) for stack in stacks)
    heights = [h for parts in panels for h in (_CELL * len(parts), _BARS)]
    figure = figures.new_figure(
        min(max(2.2 + 0.21 * num_sites, 7), 14),
        sum(heights) + _TEXT * len(stacks) + 0.4,
    )
    axes = figure.subplots(len(heights), 1, height_ratios=heights)
    width = 0.85 * figure.get_figwidth() * 72 / num_sites
    for stack, parts, cells, bars in zip(
        stacks, panels, axes[::2], axes[1::2], strict=True
    ):
        title = f"{stack.name}\n{sharing_totals(stack)}"
        cells.set_title(title, fontsize=9, loc="left")
        _draw_cells(cells, parts, width)
        _draw_bars(bars, parts)
        for ax in (cells, bars):
            ax.set_xlim(-0.5, num_sites - 0.5)
    _draw_legend(figure, [row for parts in panels for part in parts for row, _ in part])
    return figure


def _parts(rows: list[SharingRow]) -> list[Part]:
    """The parts of a block, in which each group is drawn in a way of its own."""
    size = sum(row.site == 0 for row in rows)
    parts, count = [], 0
    for part in (rows[first::size] for first in range(size)):
        parts.append([(row, _style(row, count + row.group)) for row in part])
        if part[0].name:
            count += max(row.group for row in part) + 1
    return parts


def _style(row: SharingRow, number: int) -> Style:
    if not row.name:
        gray = _PRIVATE if row.part == PRIVATE else _REST
        return {"facecolor": gray, "edgecolor": "white"}
    color = figures.COLORS[number % len(figures.COLORS)]
    hatch = _HATCHES[number // len(figures.COLORS) % len(_HATCHES)]
    if row.stored:
        return {"facecolor": color, "edgecolor": "white", "hatch": hatch}
    pale = figures.blend(color, _PALE) if row.params else "white"
    return {"facecolor": pale, "edgecolor": color, "hatch": hatch}


def _draw_cells(ax: "Axes", parts: list[Part], width: float) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    letter: Style = {"ha": "center", "va": "center_baseline", "family": "monospace"}
    letter["path_effects"] = [withStroke(linewidth=2, foreground="white")]
    for y, part in enumerate(parts):
        letters = max(1, *(len(row.name) for row, _ in part))
        size = min(_LETTER, width / (_ASPECT * letters))
        for row, style in part:
            if row.name or row.params:
                corner = row.site - 0.46, y - 0.42
                ax.add_patch(Rectangle(corner, 0.92, 0.84, lw=0.8, **style))
            if row.name and size >= _SMALLEST:
                weight = "bold" if row.stored else "normal"
                ax.text(row.site, y, row.name, fontsize=size, weight=weight, **letter)
    ax.set_ylim(len(parts) - 0.5, -0.5)
    ax.set_xticks([])
    right = ax.secondary_yaxis("right")
    stored = [sum(row.stored for row, _ in part) for part in parts]
    ax.set_yticks(range(len(parts)), labels=[part[0][0].part for part in parts])
    right.set_yticks(range(len(parts)), labels=[f"{n:,} stored" for n in stored])
    for side in (ax, right):
        side.tick_params(length=0, labelsize=8)
        side.spines[:].set_visible(False)


def _draw_bars(ax: "Axes", parts: list[Part]) -> None:
    from matplotlib.ticker import EngFormatter

    width = 0.92 / len(parts)
    heights = []
    for i, part in enumerate(parts):
        for row, style in part:
            if row.stored:
                heights.append(row.stored)
                left, color = row.site - 0.46 + width * i, style["facecolor"]
                ax.bar(left, row.stored, width, align="edge", color=color, ec="white")
    log = bool(heights) and min(heights) < _VISIBLE * max(heights)
    if log:
        ax.set_yscale("log")
        ax.set_ylim(bottom=min(heights) / 5)
    ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    num_sites = len(parts[0])
    ax.set_xticks(range(0, num_sites, -(-num_sites // 48)))
    ax.set_xlabel("site", fontsize=8)
    ax.set_ylabel("stored (log)" if log else "stored", fontsize=8)
    ax.tick_params(labelsize=7)
    figures.tidy(ax, grid="y")


def _draw_legend(figure: "Figure", rows: list[SharingRow]) -> None:
    from matplotlib.patches import Patch

    blue = figures.BLUE
    used_again = {"facecolor": figures.blend(blue, _PALE), "edgecolor": blue}
    entries: list[tuple[str, Style, Callable[[SharingRow], Any]]] = [
        ("stored here", {"facecolor": blue}, lambda r: r.name and r.stored),
        ("used again", used_again, lambda r: r.stored < r.params),
        ("not shared", {"facecolor": _REST}, lambda r: r.part == REST),
        ("private", {"facecolor": _PRIVATE}, lambda r: r.part == PRIVATE),
    ]
    handles = [
        Patch(label=label, **style)
        for label, style, is_it in entries
        if any(map(is_it, rows))
    ]
    figure.legend(
        handles=handles,
        fontsize=8,
        frameon=False,
        loc="outside lower center",
        ncols=len(entries),
    )
