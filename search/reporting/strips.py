"""A pattern as a strip of colored squares: one per site, one color per group."""

from matplotlib.colors import to_hex, to_rgb

from keras_share import figures
from keras_share.pattern.sharing_pattern import SharingPattern

_ALONE = "#e2e2e2"


def squares(pattern: SharingPattern) -> list[tuple[str, str, str]]:
    """The name of the group of each site, its color, and that of letters on it."""
    shades = colors(pattern)
    return list(zip(pattern.names, shades, map(_ink, shades), strict=True))


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
