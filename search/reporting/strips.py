"""A pattern as a strip of colored squares: one per site, one color per group."""

from collections.abc import Iterator, Mapping
from typing import Any

from matplotlib.colors import to_hex, to_rgb

from keras_share import figures
from keras_share.pattern.sharing_pattern import SharingPattern

_ALONE = "#e2e2e2"
_LETTERED = 16  # sites; letters in more squares would be too small to read
_SIDE, _GAP, _ROOM = 15, 2, 360  # pixels


def strip(patterns: Mapping[str, SharingPattern]) -> dict[str, Any]:
    """What `strip.svg` draws: the patterns of a trial, one below the other."""
    sites = max(pattern.num_sites for pattern in patterns.values())
    is_lettered = sites <= _LETTERED
    width = _SIDE if is_lettered else min(_SIDE / 2, max(_ROOM / sites, _SIDE / 5))
    title = " ".join(f"{name}={pattern}" for name, pattern in patterns.items())
    return {
        "title": title if len(patterns) > 1 else str(*patterns.values()),
        "squares": list(_squares(patterns, width)),
        "across": width,
        "side": _SIDE,
        "width": sites * width,
        "height": len(patterns) * (_SIDE + _GAP) - _GAP,
        "is_lettered": is_lettered,
    }


def _squares(
    patterns: Mapping[str, SharingPattern], width: float
) -> Iterator[dict[str, Any]]:
    for y, pattern in enumerate(patterns.values()):
        for x, (name, color) in enumerate(
            zip(pattern.names, colors(pattern), strict=True)
        ):
            place = {"x": x * width, "y": y * (_SIDE + _GAP)}
            yield {**place, "name": name, "color": color, "ink": _ink(color)}


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
