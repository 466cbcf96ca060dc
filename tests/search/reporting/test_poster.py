"""The report as one picture."""

import pytest
import synthetic_search as synthetic
from matplotlib.offsetbox import AnnotationBbox
from matplotlib.text import Text

from keras_share.search import SearchResults


@pytest.fixture(scope="module", autouse=True)
def quick_estimates():
    """Importance has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_share.search.reporting.importance._SHUFFLES", 1)
        yield


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_poster(tmp_path):
    results = synthetic.with_failures(synthetic.search(trials=12), "FAILED")
    figure = results.plot_report(tmp_path / "report.png")
    data = (tmp_path / "report.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n") and len(data) < 2_000_000
    written = texts(figure)
    assert "Search for val_accuracy" in written
    assert any("12 done, 1 failed" in text for text in written)
    front = results.pareto_front()
    for trial_id in [*front["trial_id"], *results.leaderboard()["trial_id"][:12]]:
        assert trial_id in written
    # Beside the points, in the table of the front, and in that of the best.
    strips = figure.findobj(AnnotationBbox)
    assert len(strips) == 2 * len(front) + 12


@pytest.mark.parametrize("trials", [0, 1, 2])
def test_few_trials(trials):
    results = synthetic.with_failures(synthetic.search(trials=trials), "FAILED")
    figure = results.plot_report()
    assert ("Pareto front" in texts(figure)) == (trials > 0)


def test_names_are_no_formulas():
    rows = []
    # Few, as `test_page` has such names in the pictures that need more.
    for row in synthetic.search(trials=3, names=("$a^$", "b$_")).rows:
        row["hyperparameters"] = {"$x^{": row["hyperparameters"]["units"]}
        row["measures"] = {"exported_bytes": 7, "$y_bytes": row["parameters"]}
        rows.append(row | {"objective": "$\\frac$"})
    results = SearchResults(tuple(rows), "$\\frac$", "max")
    results.plot_report().draw_without_rendering()
    ax = results.plot_pareto(columns=("$y_bytes", "$\\frac$"))
    ax.figure.draw_without_rendering()
    assert ax.get_xlabel() == "$y (KB)"
