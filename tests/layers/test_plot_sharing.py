"""The pictures, read back from what they are drawn of."""

import os

import keras
import matplotlib.pyplot as plt
import pytest
from keras import layers

from keras_share import LowRank, SharedStack
from keras_share.layers.plot_sharing import plot_sharing
from keras_share.layers.sharing_table import sharing_totals


def built(pattern, block=None, **kwargs):
    stack = SharedStack(block or layers.Dense(8), pattern, **kwargs)
    stack.build((None, 8))
    return stack


def parts():
    return keras.Sequential(
        [
            layers.Dense(8, name="one"),
            layers.Dense(8, name="two"),
            layers.BatchNormalization(),
        ]
    )


def read_cells(ax):
    """By part and site, the cell (a patch) and its letter (a text, or None)."""
    names = [label.get_text() for label in ax.get_yticklabels()]
    letters = {text.get_position(): text for text in ax.texts}
    cells = {}
    for patch in ax.patches:
        x, y = (round(float(c)) for c in patch.get_center())
        cells[names[y], x] = patch, letters.pop((x, y), None)
    assert not letters
    return cells


def look(patch):
    return patch.get_facecolor(), patch.get_hatch()


STACKS = {
    "one site": lambda: built("A", private="bias"),
    "ABABBA": lambda: built("ABABBA", private="bias"),
    "nothing private": lambda: built("ABA"),
    "no weights": lambda: built("AAB", layers.ReLU()),
    "parts": lambda: built({"one": "AAAAA", "two": "AABBC"}, parts, relax=LowRank(2)),
    "rest": lambda: built({"one": "ABABA"}, parts),
    "private in some": lambda: built("ABA", relax=LowRank(2)),
    "48 sites": lambda: built("cycle:4", num_sites=48, private="bias"),
    "52 groups": lambda: built("unshared", num_sites=52, private="bias"),
    "53 groups": lambda: built("unshared", num_sites=53, private="bias"),
}


@pytest.mark.parametrize("make", STACKS.values(), ids=STACKS)
def test_cells_and_bars_are_the_rows(make):
    stack = make()
    figure = plot_sharing(stack)
    upper, lower = figure.axes
    rows = stack.sharing()
    cells = read_cells(upper)
    assert {key: text and text.get_text() for key, (_, text) in cells.items()} == {
        (row.part, row.site): row.name or None for row in rows if row.name or row.params
    }
    bars = [(round(bar.get_center()[0]), bar.get_height()) for bar in lower.patches]
    stored = [(row.site, row.stored) for row in rows if row.stored]
    assert sorted(bars) == sorted(stored)
    assert upper.get_title("left") == f"{stack.name}\n{sharing_totals(stack)}"

    figure.draw_without_rendering()
    for patch, text in cells.values():
        if text:
            letter, cell = text.get_window_extent(), patch.get_window_extent()
            assert letter.width < cell.width and letter.height < cell.height
            assert text.get_fontsize() >= 5


@pytest.mark.parametrize("make", STACKS.values(), ids=STACKS)
def test_each_group_has_a_look_of_its_own(make):
    stack = make()
    cells = read_cells(plot_sharing(stack).axes[0])
    looks, grays = {}, {}
    for row in stack.sharing():
        if not row.params:
            continue
        patch, text = cells[row.part, row.site]
        if row.name:
            # Strong where it is stored, pale where it is used again.
            key = row.part, row.name, bool(row.stored)
            assert looks.setdefault(key, look(patch)) == look(patch)
            assert (text.get_weight() == "bold") == bool(row.stored)
        else:
            assert grays.setdefault(row.part, look(patch)) == look(patch)
            assert len(set(patch.get_facecolor()[:3])) == 1
    everything = [*looks.values(), *grays.values()]
    assert len(set(everything)) == len(everything)


def test_legend_lists_what_there_is():
    def labels(stack):
        return [text.get_text() for text in plot_sharing(stack).legends[0].get_texts()]

    assert labels(STACKS["nothing private"]()) == ["stored here", "used again"]
    assert labels(STACKS["52 groups"]()) == ["stored here", "private"]
    assert labels(STACKS["rest"]()) == [
        "stored here",
        "used again",
        "not shared",
        "private",
    ]


def test_bars_that_differ_much_are_on_a_log_scale():
    near = built("AAB", private="bias")
    far = built("AB", layers.Dense(200), private="bias")
    assert plot_sharing(near).axes[1].get_yscale() == "linear"
    bars = plot_sharing(far).axes[1]
    assert bars.get_yscale() == "log"
    assert bars.get_ylabel() == "stored (log)"
    assert 0 < bars.get_ylim()[0] < 200


def test_a_model_has_a_panel_for_each_stack():
    inputs = keras.Input((8,))
    x = SharedStack(layers.Dense(8), "ABA", name="encoder")(inputs)
    inner = keras.Sequential([SharedStack(layers.Dense(8), "AAAAA", name="decoder")])
    figure = plot_sharing(keras.Model(inputs, inner(x)))
    encoder, bars, decoder, more_bars = figure.axes
    titles = [ax.get_title("left").split("\n")[0] for ax in (encoder, decoder)]
    assert titles == ["encoder", "decoder"]
    assert len(read_cells(encoder)) == 3
    assert len(read_cells(decoder)) == 5
    # Cells of all panels are equally wide.
    assert len({ax.get_xlim() for ax in (encoder, bars, decoder, more_bars)}) == 1
    assert list(bars.get_xticks()) == [0, 1, 2]


@pytest.mark.parametrize(
    "name, start",
    [("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("a.pdf", b"%PDF")],
)
def test_writes_a_file_and_leaves_pyplot_alone(name, start, tmp_path):
    before = plt.get_fignums(), plt.get_backend()
    plot_sharing(STACKS["ABABBA"](), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert os.listdir(tmp_path) == [name]
    assert (plt.get_fignums(), plt.get_backend()) == before


def test_errors(tmp_path):
    stack = STACKS["ABABBA"]()
    with pytest.raises(ValueError, match=r"`to_file` must end in .png, .*'a.jpg'"):
        plot_sharing(stack, "a.jpg")
    with pytest.raises(FileNotFoundError, match="into an existing folder"):
        plot_sharing(stack, tmp_path / "folder" / "a.png")
    with pytest.raises(ValueError, match=r"SharedStack or have one.*Dense 'plain'"):
        plot_sharing(layers.Dense(8, name="plain"))
    with pytest.raises(ValueError, match="'raw' has no weights yet"):
        plot_sharing(SharedStack(layers.Dense(8), "AB", name="raw"))
