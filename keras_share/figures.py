"""What all pictures have in common: their colors, their axes, and how they are saved.

matplotlib is imported where something is drawn, as that takes a second.
"""

import io
import os
from typing import TYPE_CHECKING, Any, Literal

from keras_share.atomic import check_writable, write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, which the color-blind tell apart; gray in place of its black.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, VERMILION, YELLOW = "#56B4E9", "#D55E00", "#F0E442"
GRAY = "#999999"
COLORS = (BLUE, ORANGE, GREEN, PINK, SKY, VERMILION, YELLOW)

# Names are no formulas, whatever they hold.
PLAIN: dict[Any, Any] = {"text.parse_math": False}

FORMATS = (".png", ".svg", ".pdf")


def new_figure(width: float, height: float, dpi: int = 150) -> "Figure":
    """A figure of so many inches, without pyplot's windows and global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def tidy(ax: "Axes", grid: Literal["both", "x", "y"] = "both") -> None:
    """Leaves two of the four edges of a plot, and a pale grid behind what it shows."""
    ax.grid(axis=grid, alpha=0.25)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def blend(color: str, share: float, other: str = "white") -> tuple[float, float, float]:
    """A share of a color, and the rest of another one."""
    from matplotlib.colors import to_rgb

    pairs = zip(to_rgb(color), to_rgb(other), strict=True)
    red, green, blue = (share * one + (1 - share) * two for one, two in pairs)
    return red, green, blue


def check_picture(to_file: str | os.PathLike | None) -> None:
    """Checks where a picture is to be written, before it is drawn.

    Raises:
        ValueError: If `to_file` does not end in `.png`, `.svg` or `.pdf`.
        OSError: If its folder does not exist or cannot be written.
    """
    if to_file is None:
        return
    if _ending(to_file) not in FORMATS:
        raise ValueError(
            f"`to_file` must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}. "
            f"Received: to_file={os.fspath(to_file)!r}"
        )
    check_writable(to_file)


def save(figure: "Figure", to_file: str | os.PathLike | None) -> None:
    """Writes a figure to a file whole or not at all, None to none."""
    check_picture(to_file)
    if to_file is not None:
        file = io.BytesIO()
        figure.savefig(file, format=_ending(to_file)[1:])
        write_atomically(to_file, file.getvalue())


def _ending(path: str | os.PathLike) -> str:
    return os.path.splitext(path)[1].lower()
