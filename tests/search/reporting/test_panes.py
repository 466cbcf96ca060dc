"""The pictures beside that of the front."""

from dataclasses import replace

import numpy as np
import pytest
import synthetic_search as synthetic
from matplotlib.figure import Figure

from keras_share.search import SearchResults
from keras_share.search.reporting import panes
from keras_share.search.reporting.effects import PairEffects
from keras_share.search.reporting.front import draw_front

EFFECTS = np.array([[np.nan, 0.2, -0.04], [0.2, np.nan, np.nan], [-0.04, np.nan, 0]])
COUNTS = np.array([[np.nan, 5, 6], [5, np.nan, 7], [6, 7, np.nan]])
PAIRS = PairEffects("sharing", EFFECTS, COUNTS, 9, 0.5)


def axes():
    return Figure().subplots()


@pytest.mark.parametrize("direction", ["min", "max"])
def test_blue_is_better(direction):
    ax = axes()
    panes.draw_pairs(ax, PAIRS, "val_loss", direction)
    image = ax.images[0]
    red, _, blue, _ = image.to_rgba(image.get_array())[1, 0]  # sites 0 and 1, + 0.2
    assert (blue > red) == (direction == "max")
    # Two digits of the largest effect, and a mark where it is unknown.
    assert {text.get_text() for text in ax.texts} >= {"+0.20", "-0.04", "?", *"567"}
    assert "explains 50% of what all else leaves open" in ax.get_title(loc="left")


def test_chance_is_told_as_such():
    ax = axes()
    panes.draw_pairs(ax, PairEffects("s", EFFECTS, EFFECTS, 9, -1), "a", "max")
    assert "no better than chance" in ax.get_title(loc="left")


def test_no_numbers_in_many_sites():
    many = np.zeros((48, 48))
    ax = axes()
    panes.draw_pairs(ax, PairEffects("s", many, many, 9, 0.5), "a", "max")
    assert not ax.texts


def test_scores():
    results = synthetic.with_failures(synthetic.search(trials=5), "FAILED", "PRUNED")
    ax = axes()
    panes.draw_scores(ax, results)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["trial", "best so far", "failed", "pruned"]


@pytest.mark.parametrize("direction", ["min", "max"])
def test_scores_are_told_in_the_order_in_which_they_ended(direction):
    first, *rest = synthetic.search(trials=3).records
    late = replace(first, ended=first.ended + 1000, score=0.1)
    ax = axes()
    panes.draw_scores(ax, SearchResults((late, *rest), {"val_loss": direction}))
    scores = [*(record.score for record in rest), 0.1]
    best = {"min": np.minimum, "max": np.maximum}[direction].accumulate(scores)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), best)


def test_names_are_cut():
    assert panes.cut("val_accuracy") == "val_accuracy"
    assert len(panes.cut("x" * 99)) == 26
    assert panes.cut("a\x1b\nb") == "a\ufffd\ufffdb"


def test_a_front_of_three_columns_is_a_cloud():
    results = synthetic.search(trials=20)
    columns = "exported_bytes", "latency_ms", "val_accuracy"
    ax = draw_front(results, "latency_ms", "val_accuracy", columns=columns)
    front = results.pareto_front(*columns)
    assert not ax.lines
    assert [text.get_text() for text in ax.texts][-1] == str(len(front))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("latency (ms)", "val_accuracy")
