"""What all pictures have in common."""

import os
import subprocess
import sys

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_rgb

from keras_share import figures

STARTS = {"a.png": b"\x89PNG", "a.SVG": b"<?xml", "a.pdf": b"%PDF"}


@pytest.mark.parametrize("name, start", STARTS.items())
def test_written_whole_and_without_pyplot(name, start, tmp_path):
    before = plt.get_fignums(), plt.get_backend()
    figures.save(figures.new_figure(2, 1), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert os.listdir(tmp_path) == [name]
    assert (plt.get_fignums(), plt.get_backend()) == before


def test_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    figures.check_picture(None)
    figures.save(figures.new_figure(2, 1), None)
    assert os.listdir() == []


@pytest.mark.parametrize("write", [figures.check_picture, lambda p: figures.save(0, p)])
def test_places_where_no_picture_can_be(write, tmp_path):
    with pytest.raises(ValueError, match=r"end in \.png, \.svg or \.pdf.*'x\.jpg'"):
        write("x.jpg")
    with pytest.raises(FileNotFoundError, match="Create the folder"):
        write(tmp_path / "missing" / "x.png")


def test_colors():
    assert len({*figures.COLORS, figures.GRAY}) == 8
    assert figures.blend(figures.BLUE, 1) == to_rgb(figures.BLUE)
    assert figures.blend("black", 0.25) == (0.75, 0.75, 0.75)
    assert figures.blend("white", 0.5, "black") == (0.5, 0.5, 0.5)


def test_matplotlib_is_imported_where_something_is_drawn():
    code = "import sys, keras_share.figures; print('matplotlib' in sys.modules)"
    done = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert done == "False\n"
