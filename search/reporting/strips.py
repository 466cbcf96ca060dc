"""A pattern as a strip of colored squares: one per site, one color per group."""

from collections.abc import Mapping
from html import escape

from matplotlib.colors import to_hex, to_rgb
from matplotlib.offsetbox import DrawingArea
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from keras_share.pattern.sharing_pattern import SharingPattern

# Okabe and Ito's, which the color-blind tell apart; without its black.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
_ALONE = "#e2e2e2"
_LETTERED = 16  # sites; letters in more squares would be too small to read
_GAP = 1.5  # points between the strips of two patterns


def colors(pattern: SharingPattern) -> list[str]:
    """A color per site; sites that share with none are gray."""
    shared = [group for group in pattern.groups if len(group) > 1]
    found = [_ALONE] * pattern.num_sites
    for number, group in enumerate(shared):
        for site in group:
            found[site] = _color(number)
    return found


def svg(patterns: Mapping[str, SharingPattern]) -> str:
    """The strips of a trial as an SVG element for a page, one below the other."""
    if not patterns:
        return ""
    side, gap = 15, 2
    widest = max(pattern.num_sites for pattern in patterns.values())
    width = side if widest <= _LETTERED else side / 2
    title = escape(" ".join(_named(patterns)))
    drawn = []
    for y, pattern in enumerate(patterns.values()):
        top = y * (side + gap)
        for x, (name, color) in enumerate(
            zip(pattern.names, colors(pattern), strict=True)
        ):
            drawn.append(
                f'<rect x="{x * width:g}" y="{top}" width="{width - 1:g}" '
                f'height="{side - 1}" rx="2" fill="{color}"/>'
            )
            if widest <= _LETTERED:
                drawn.append(
                    f'<text x="{x * width + (width - 1) / 2:g}" y="{top + 10.5}" '
                    f'fill="{_ink(color)}">{escape(name)}</text>'
                )
    size = f'width="{widest * width:g}" height="{len(patterns) * (side + gap)}"'
    return (
        f'<svg class="strip" role="img" {size}><title>{title}</title>'
        f"{''.join(drawn)}</svg>"
    )


def box(patterns: Mapping[str, SharingPattern]) -> DrawingArea:
    """The strips of a trial for a matplotlib figure; `width` and `height` in points."""
    widest = max(pattern.num_sites for pattern in patterns.values())
    side = 7.5 if widest <= _LETTERED else 6
    width = side if widest <= _LETTERED else max(90 / widest, 1.5)
    step = side + _GAP
    area = DrawingArea(widest * width, len(patterns) * step - _GAP)
    for y, pattern in enumerate(reversed(patterns.values())):
        for x, (name, color) in enumerate(
            zip(pattern.names, colors(pattern), strict=True)
        ):
            corner = x * width, y * step
            edge = 0.4 if width > 3 else 0.1
            area.add_artist(
                Rectangle(corner, width, side, facecolor=color, ec="white", lw=edge)
            )
            if widest <= _LETTERED:
                middle = corner[0] + width / 2, corner[1] + side / 2
                letter = Text(*middle, name, fontsize=5, color=_ink(color))
                letter.set(ha="center", va="center_baseline", family="monospace")
                area.add_artist(letter)
    return area


def _named(patterns: Mapping[str, SharingPattern]) -> list[str]:
    if len(patterns) == 1:
        return [str(*patterns.values())]
    return [f"{name}={pattern}" for name, pattern in patterns.items()]


def _color(number: int) -> str:
    """A color of the palette; lighter and then darker ones where it is used up."""
    base = to_rgb(_COLORS[number % len(_COLORS)])
    shade = number // len(_COLORS) % 3
    if shade == 1:
        base = tuple(1 - 0.45 * (1 - value) for value in base)
    if shade == 2:
        base = tuple(0.55 * value for value in base)
    return to_hex(base)


def _ink(color: str) -> str:
    """Black or white, whichever can be read on a color."""
    red, green, blue = to_rgb(color)
    return "#000000" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.45 else "#ffffff"
