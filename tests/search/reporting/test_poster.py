"""The report as one picture."""

from dataclasses import replace

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
    objectives = {"$\\frac$": "max"}
    # Few, as `test_page` has such names in the pictures that need more.
    records = tuple(
        replace(
            record,
            hyperparameters={"$x^{": record.hyperparameters["units"]},
            measures={"exported_bytes": 7, "$y_bytes": record.parameters},
            objectives=objectives,
        )
        for record in synthetic.search(trials=3, names=("$a^$", "b$_")).records
    )
    results = SearchResults(records, objectives)
    results.plot_report().draw_without_rendering()
    ax = results.plot_pareto(columns=("$y_bytes", "$\\frac$"))
    ax.figure.draw_without_rendering()
    assert ax.get_xlabel() == "$y (KB)"
