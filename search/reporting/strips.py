"""A pattern as a strip of colored squares: one per site, one color per group."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.colors import to_hex, to_rgb
from matplotlib.offsetbox import DrawingArea
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from keras_share import figures
from keras_share.pattern.sharing_pattern import SharingPattern

_ALONE = "#e2e2e2"
_LETTERED = 16  # sites; letters in more squares would be too small to read


@dataclass(frozen=True)
class Square:
    """A site: where it is, from the left and from above, and how it looks."""

    x: float
    y: float
    name: str
    color: str
    ink: str


@dataclass(frozen=True)
class Strip:
    """The squares of the patterns of a trial, one pattern below the other.

    `across` and `side` are the width and the height of each, with its edge.
    """

    title: str
    squares: list[Square]
    width: float
    height: float
    across: float
    side: float
    is_lettered: bool


def strip(
    patterns: Mapping[str, SharingPattern], side: float, gap: float, room: float
) -> Strip:
    """Lays out the patterns of a trial, at least one.

    Args:
        patterns: The patterns by name.
        side: Height of a square.
        gap: Between two patterns.
        room: Width that a pattern of many sites takes.
    """
    sites = max(pattern.num_sites for pattern in patterns.values())
    is_lettered = sites <= _LETTERED
    across = side if is_lettered else min(side / 2, max(room / sites, side / 5))
    squares = [
        Square(x * across, y * (side + gap), name, color, _ink(color))
        for y, pattern in enumerate(patterns.values())
        for x, (name, color) in enumerate(
            zip(pattern.names, colors(pattern), strict=True)
        )
    ]
    height = len(patterns) * (side + gap) - gap
    title = " ".join(f"{name}={pattern}" for name, pattern in patterns.items())
    if len(patterns) == 1:
        title = str(*patterns.values())
    return Strip(title, squares, sites * across, height, across, side, is_lettered)


def box(patterns: Mapping[str, SharingPattern]) -> DrawingArea:
    """The strips of a trial for a matplotlib figure; `width` and `height` in points."""
    laid = strip(patterns, side=7.5, gap=1.5, room=90)
    area = DrawingArea(laid.width, laid.height)
    edge: dict[str, Any] = {"ec": "white", "lw": 0.4 if laid.across > 3 else 0.1}
    for square in laid.squares:
        corner = square.x, laid.height - square.y - laid.side
        area.add_artist(
            Rectangle(corner, laid.across, laid.side, facecolor=square.color, **edge)
        )
        if laid.is_lettered:
            middle = corner[0] + laid.across / 2, corner[1] + laid.side / 2
            letter = Text(*middle, square.name, fontsize=5, color=square.ink)
            letter.set(ha="center", va="center_baseline", family="monospace")
            area.add_artist(letter)
    return area


def colors(pattern: SharingPattern) -> list[str]:
    """A color per site; sites that share with none are gray."""
    shared = [group for group in pattern.groups if len(group) > 1]
    found = [_ALONE] * pattern.num_sites
    for number, group in enumerate(shared):
        for site in group:
            found[site] = _color(number)
    return found


def _color(number: int) -> str:
    """A color of the palette; lighter and then darker ones where it is used up."""
    color = figures.COLORS[number % len(figures.COLORS)]
    shades = (1, "white"), (0.45, "white"), (0.55, "black")
    return to_hex(figures.blend(color, *shades[number // len(figures.COLORS) % 3]))


def _ink(color: str) -> str:
    """Black or white, whichever can be read on a color."""
    red, green, blue = to_rgb(color)
    return "#000000" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.45 else "#ffffff"
