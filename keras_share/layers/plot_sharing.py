"""The picture of a stack: which site uses which weights, and where they are stored."""

import os
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
    panels = [_columns(sharing_rows(stack)) for stack in stacks]
    num_sites = max(len(stack.sites) for stack in stacks)
    heights = [h for parts in panels for h in (_CELL * len(parts), _BARS)]
    figure = figures.new_figure(
        min(max(2.2 + 0.21 * num_sites, 7), 14),
        sum(heights) + _TEXT * len(stacks) + 0.4,
    )
    axes = figure.subplots(len(heights), 1, height_ratios=heights)
    width = 0.85 * figure.get_figwidth() * 72 / num_sites
    for i, (stack, parts) in enumerate(zip(stacks, panels, strict=True)):
        cells, bars = axes[2 * i : 2 * i + 2]
        styles = _styles(parts)
        _draw_cells(cells, parts, styles, width)
        _draw_bars(bars, parts, styles)
        cells.set_title(
            f"{stack.name}\n{sharing_totals(stack)}", fontsize=9, loc="left"
        )
        for ax in (cells, bars):
            ax.set_xlim(-0.5, num_sites - 0.5)
    _draw_legend(figure, panels)
    return figure


def _columns(rows: list[SharingRow]) -> list[list[SharingRow]]:
    """The rows of each part, site after site."""
    size = sum(row.site == 0 for row in rows)
    return [rows[part::size] for part in range(size)]


def _styles(parts: list[list[SharingRow]]) -> list[list[Style]]:
    """How each row of each part is drawn: another way for each group of each part."""
    styles, count = [], 0
    for rows in parts:
        styles.append([_style(row, count + row.group) for row in rows])
        if rows[0].name:
            count += max(row.group for row in rows) + 1
    return styles


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


def _draw_cells(
    ax: "Axes",
    parts: list[list[SharingRow]],
    styles: list[list[Style]],
    width: float,
) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    for y, (rows, row_styles) in enumerate(zip(parts, styles, strict=True)):
        letters = max(1, *(len(row.name) for row in rows))
        size = min(_LETTER, width / (_ASPECT * letters))
        for row, style in zip(rows, row_styles, strict=True):
            if not (row.name or row.params):
                continue
            ax.add_patch(
                Rectangle((row.site - 0.46, y - 0.42), 0.92, 0.84, lw=0.8, **style)
            )
            if row.name and size >= _SMALLEST:
                ax.text(
                    row.site,
                    y,
                    row.name,
                    ha="center",
                    va="center_baseline",
                    family="monospace",
                    fontsize=size,
                    weight="bold" if row.stored else "normal",
                    path_effects=[withStroke(linewidth=2, foreground="white")],
                )
    ax.set_ylim(len(parts) - 0.5, -0.5)
    ax.set_yticks(range(len(parts)), labels=[rows[0].part for rows in parts])
    ax.set_xticks([])
    ax.tick_params(length=0, labelsize=8)
    ax.spines[:].set_visible(False)
    right = ax.secondary_yaxis("right")
    right.set_yticks(
        range(len(parts)),
        labels=[f"{sum(row.stored for row in rows):,} stored" for rows in parts],
    )
    right.tick_params(length=0, labelsize=8)
    right.spines[:].set_visible(False)


def _draw_bars(
    ax: "Axes", parts: list[list[SharingRow]], styles: list[list[Style]]
) -> None:
    from matplotlib.ticker import EngFormatter

    width = 0.92 / len(parts)
    for i, (rows, row_styles) in enumerate(zip(parts, styles, strict=True)):
        for row, style in zip(rows, row_styles, strict=True):
            if row.stored:
                left = row.site - 0.46 + width * i
                color = style["facecolor"]
                ax.bar(left, row.stored, width, align="edge", color=color, ec="white")
    heights = [row.stored for rows in parts for row in rows if row.stored]
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


def _draw_legend(figure: "Figure", panels: list[list[list[SharingRow]]]) -> None:
    from matplotlib.patches import Patch

    rows = [row for parts in panels for part in parts for row in part]
    blue = figures.BLUE
    used_again = {"facecolor": figures.blend(blue, _PALE), "edgecolor": blue}
    entries = [
        ("stored here", {"facecolor": blue}, lambda r: r.name and r.stored),
        ("used again", used_again, lambda r: r.stored < r.params),
        ("not shared", {"facecolor": _REST}, lambda r: r.part == REST),
        ("private", {"facecolor": _PRIVATE}, lambda r: r.part == PRIVATE),
    ]
    figure.legend(
        handles=[
            Patch(label=label, **style)
            for label, style, is_it in entries
            if any(map(is_it, rows))
        ],
        loc="outside lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
    )
