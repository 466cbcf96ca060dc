"""The picture of a benchmark: latency and memory of each file in each mode."""

import math
import os
from typing import TYPE_CHECKING

from keras_share import figures
from keras_share.tflite.runtimes.benchmark import WRONG

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {
    "interpreter": figures.BLUE,
    "reference": figures.GRAY,
    "compiled": figures.SKY,
    "compiled_cache": figures.GREEN,
    "micro": figures.ORANGE,
}
_PANELS = (
    ("median_ms", "p90_ms", "median latency, line to the 90th percentile", "ms"),
    ("grown_mb", "peak_mb", "resident growth, line to its peak", "MB"),
)
_BAR = 0.24  # inches from one to the next
_LONGEST = 34  # letters of a name
_ROOM = 0.75  # for the text beside the longest bar, as a share of it


def plot_benchmark(
    frame: "pandas.DataFrame", to_file: str | os.PathLike | None = None
) -> "Figure":
    """Draws the latency and the memory that `benchmark` measured.

    A bar for each file and mode: on the left the median latency, with a line to the
    90th percentile, on the right the growth of the resident memory, with a line to its
    peak. Beside it stand the number and, from the second file on, how many times that
    of the first file in the same mode it is, and whether the outputs are wrong.

    Args:
        frame: The DataFrame of what `benchmark` returned.
        to_file: Where to write the picture: a path that ends in `.png`, `.svg` or
            `.pdf`. None writes nothing.

    Returns:
        The figure.

    Raises:
        ValueError: If `frame` has no rows, or `to_file` another ending.
        OSError: If the folder of `to_file` does not exist or cannot be written.

    Example:
    >>> import keras, keras_share
    >>> from keras_share.tflite.runtimes.benchmark import benchmark
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    >>> report = keras_share.export_tflite(model, "model.tflite")
    >>> frame = benchmark("model.tflite", rounds=1).to_dataframe()
    >>> figure = plot_benchmark(frame, "benchmark.png")
    """
    figures.check_picture(to_file)
    if not len(frame):
        raise ValueError(
            "`frame` must have a row for each file and mode. Received: none"
        )
    figure = _draw(frame)
    figures.save(figure, to_file)
    return figure


def _draw(frame: "pandas.DataFrame") -> "Figure":
    from matplotlib.patches import Patch

    files, modes = [*dict.fromkeys(frame["file"])], [*dict.fromkeys(frame["mode"])]
    step = len(modes) + 1  # a bar of room between two files
    height = step * len(files) - 1
    figure = figures.new_figure(10, 1.3 + _BAR * height)
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for ax, (value, end, title, unit) in zip(panels, _PANELS, strict=True):
        firsts = frame[frame["file"] == files[0]].set_index("mode")[value]
        for row in frame.to_dict("records"):
            y = step * files.index(row["file"]) + modes.index(row["mode"])
            text = _text(row, value, unit, files[0], firsts[row["mode"]])
            _draw_bar(ax, y, row["mode"], row[value], row[end], text)
        longest = frame[[value, end]].max(axis=None)
        ax.set_xlim(0, 1 + _ROOM if math.isnan(longest) else (1 + _ROOM) * longest)
        ax.set_title(title, fontsize=10, loc="left")
        ax.set_xlabel(unit, fontsize=8)
        ax.tick_params(labelsize=8)
        ax.tick_params(axis="y", length=0)
        figures.tidy(ax, grid="x")
    middles = [step * i + (len(modes) - 1) / 2 for i in range(len(files))]
    panels[0].set_yticks(middles, labels=_labels(files))
    panels[0].set_ylim(height - 0.4, -0.6)
    handles = [Patch(label=mode, color=_COLORS[mode]) for mode in modes]
    figure.legend(
        handles=handles,
        fontsize=8,
        frameon=False,
        loc="outside upper right",
        ncols=len(modes),
    )
    return figure


def _text(row: dict, value: str, unit: str, first_file: str, first: float) -> str:
    if row["error"]:
        return "does not run"
    if math.isnan(row[value]):
        return "not measured"
    text = f"{row[value]:.3g} {unit}"
    if row["file"] != first_file and first > 0:
        text += f", {row[value] / first:.2g}x"
    return f"{text}, wrong" if row["difference"] > WRONG else text


def _draw_bar(
    ax: "Axes", y: int, mode: str, value: float, end: float, text: str
) -> None:
    # What was not measured has no length.
    value, end = (0.0 if math.isnan(x) else max(x, 0.0) for x in (value, end))
    ax.barh(y, value, 0.86, color=_COLORS[mode])
    if end > value:
        ax.plot([value, end], [y, y], color="0.3", lw=1)
    ax.annotate(
        text,
        (max(value, end), y),
        xytext=(4, 0),
        textcoords="offset points",
        va="center_baseline",
        fontsize=7.5,
    )


def _labels(files: list[str]) -> list[str]:
    """The ends of the paths, which tell them apart, without the folder all share."""
    names = [os.path.basename(file) for file in files]
    names = names if len({*names}) == len(names) else files
    return [
        n if len(n) <= _LONGEST else f"\N{HORIZONTAL ELLIPSIS}{n[1 - _LONGEST :]}"
        for n in names
    ]
