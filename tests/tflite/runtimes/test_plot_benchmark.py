"""The picture, read back from what it is drawn of."""

import os

import pandas
import pytest

from keras_share.tflite.runtimes.plot_benchmark import plot_benchmark

NAN = float("nan")


def frame(*rows):
    names = ("file", "mode", "median_ms", "p90_ms", "grown_mb", "peak_mb")
    return pandas.DataFrame(
        [
            dict(zip((*names, "difference", "error"), (*row, 0.0, ""), strict=False))
            for row in rows
        ]
    )


def measured():
    table = frame(
        ("out/unrolled.tflite", "interpreter", 4.0, 5.0, 110.0, 120.0),
        ("out/unrolled.tflite", "micro", 40.0, 40.0, NAN, NAN),
        ("out/rolled.tflite", "interpreter", 1.0, 1.5, 22.0, 22.0),
        ("out/rolled.tflite", "micro", NAN, NAN, NAN, NAN),
    )
    table.loc[3, "error"] = "no such operator"
    return table


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_bars_and_numbers():
    latency, memory = plot_benchmark(measured()).axes
    assert [bar.get_width() for bar in latency.patches] == [4, 40, 1, 0]
    assert [bar.get_width() for bar in memory.patches] == [110, 0, 22, 0]
    assert texts(latency) == ["4 ms", "40 ms", "1 ms, 0.25x", "does not run"]
    assert texts(memory) == ["110 MB", "not measured", "22 MB, 0.2x", "does not run"]
    ends = [line.get_xdata().tolist() for line in latency.lines]
    assert ends == [[4, 5], [1, 1.5]]
    labels = [label.get_text() for label in latency.get_yticklabels()]
    assert labels == ["unrolled.tflite", "rolled.tflite"]
    # The first file is on top.
    assert latency.get_ylim()[0] > latency.get_ylim()[1]


def test_modes_have_their_colors():
    figure = plot_benchmark(measured())
    [legend] = figure.legends
    colors = [patch.get_facecolor() for patch in legend.get_patches()]
    assert [text.get_text() for text in legend.get_texts()] == ["interpreter", "micro"]
    bars = [bar.get_facecolor() for bar in figure.axes[0].patches]
    assert bars == colors * 2 and len({*colors}) == 2


def test_wrong_outputs_are_marked():
    table = measured()
    table["difference"] = [NAN, 0.04, 0.5, NAN]
    assert texts(plot_benchmark(table).axes[0])[1:3] == ["40 ms", "1 ms, 0.25x, wrong"]


def test_names_that_end_alike_and_long_ones():
    rows = [(1.0, 1.0, 1.0, 1.0)] * 3
    names = ["a/model.tflite", "b/model.tflite", f"{'x' * 60}/model.tflite"]
    table = frame(*((n, "micro", *row) for n, row in zip(names, rows, strict=True)))
    labels = plot_benchmark(table).axes[0].get_yticklabels()
    shown = [label.get_text() for label in labels]
    assert shown[:2] == names[:2]
    assert len(shown[2]) == 34 and shown[2].endswith("xx/model.tflite")


def overlaps(figure):
    """Pairs of texts that lie over each other, and texts outside the picture."""
    figure.draw_without_rendering()
    boxes = [
        (text.get_text(), text.get_window_extent())
        for ax in figure.axes
        for text in (*ax.texts, *ax.get_yticklabels(), ax.title, ax.xaxis.label)
        if text.get_visible() and text.get_text()
    ]
    boxes += [("legend", legend.get_window_extent()) for legend in figure.legends]
    width, height = figure.bbox.size
    yield from (
        name
        for name, box in boxes
        if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height
    )
    yield from (
        (name, other)
        for i, (name, box) in enumerate(boxes)
        for other, next_box in boxes[i + 1 :]
        if box.overlaps(next_box)
    )


@pytest.mark.parametrize("num_files", [1, 2, 12])
@pytest.mark.parametrize("modes", [["interpreter"], ["interpreter", "compiled_cache"]])
def test_nothing_is_cut_or_covered(num_files, modes):
    table = frame(
        *(
            (f"folder/{'long ' * 9}{i}.tflite", mode, 0.0123 + i, 0.6 + i, 123.4, 130.0)
            for i in range(num_files)
            for mode in modes
        )
    )
    table["difference"] = 1.0
    assert [*overlaps(plot_benchmark(table))] == []


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_written_whole(ending, tmp_path):
    path = tmp_path / f"benchmark.{ending}"
    plot_benchmark(measured(), path)
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert path.read_bytes().startswith(starts[ending])
    assert os.listdir(tmp_path) == [path.name]


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match=r"end in \.png, \.svg or \.pdf.*'x\.jpg'"):
        plot_benchmark(measured(), "x.jpg")
    with pytest.raises(FileNotFoundError, match="Create the folder"):
        plot_benchmark(measured(), tmp_path / "missing" / "x.png")
    with pytest.raises(ValueError, match=r"must have a row .* Received: none"):
        plot_benchmark(measured()[:0])
