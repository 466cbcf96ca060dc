import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from keras_share.retrofit.heat_map import plot_signals

COLUMNS = ["kind", "site", "other", "change"]


def signals(**sites):
    rng = np.random.default_rng(0)
    pairs = [
        (kind, *pair, rng.exponential())
        for kind, count in sites.items()
        for pair in itertools.combinations(range(count), 2)
    ]
    return pd.DataFrame(pairs, columns=COLUMNS)


@pytest.mark.parametrize("kinds", range(1, 6))
def test_a_panel_for_each_kind(kinds, tmp_path):
    table = signals(**{f"kind_{i}": 2 + i for i in range(kinds)})
    figure = plot_signals(table, tmp_path / "signals.png")
    assert plt.imread(tmp_path / "signals.png").std() > 0
    panels = [ax for ax in figure.axes if ax.get_visible() and ax.images]
    titles = [ax.get_title(loc="left") for ax in panels]
    assert titles == [f"from 'kind_{i}' on" for i in range(kinds)]
    for ax, (_, pairs) in zip(panels, table.groupby("kind"), strict=True):
        [image] = ax.images
        shown = image.get_array().filled(np.nan)
        assert np.isfinite(shown).sum() == len(pairs)
        for _, site, other, change in pairs.itertuples(index=False):
            assert shown[other, site] == change


def test_cells_say_what_changes_unless_they_are_too_small():
    table = pd.DataFrame(
        [("k", 0, 1, 0.001), ("k", 0, 2, 0.25), ("k", 1, 2, 1e30)], columns=COLUMNS
    )
    assert {t.get_text() for t in plot_signals(table).axes[0].texts} == {
        "0.00",
        "0.25",
        ">99",
    }
    assert not plot_signals(signals(many=13)).axes[0].texts


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="at least one pair"):
        plot_signals(signals())
    with pytest.raises(ValueError, match=r"must end in .png"):
        plot_signals(signals(k=2), "signals.gif")
