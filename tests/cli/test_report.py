"""`report`: what it says and writes of a finished search."""

import pytest
import synthetic_search as synthetic

from keras_share.search import SearchResults


@pytest.fixture
def found(here):
    """A search of two objectives with trials of every status, in the folder `runs`."""
    results = synthetic.with_failures(
        synthetic.search(trials=8, objectives=synthetic.OBJECTIVES),
        *("FAILED", "REJECTED", "PRUNED"),
    )
    synthetic.write("runs", results)
    return SearchResults.load("runs")


def test_text_and_json(cli, cli_json, found):
    lines = cli("report runs").stdout.splitlines()
    knee = found.knee()["trial_id"]
    assert lines[-1] == f"knee of the front: trial {knee}"
    heading = lines.index("Pareto front")
    patterns = [line.split()[0] for line in lines[heading + 3 : -2]]
    assert patterns == list(found.pareto_front()["pattern"])
    facts = cli_json("report runs")
    assert facts["objectives"] == {"val_accuracy": "max", "exported_bytes": "min"}
    assert facts["knee"] == knee
    assert facts["hypervolume"] == pytest.approx(found.hypervolume())
    assert len(facts["leaderboard"]) == 11


def test_columns(cli_json, cli, found):
    names = ["latency_ms", "parameters", "val_loss"]
    options = " ".join(f"--column {name}" for name in names)
    facts = cli_json(f"report runs {options} --plot front.png")
    front = found.pareto_front(*names)
    assert [r["trial_id"] for r in facts["pareto_front"]] == list(front["trial_id"])
    assert facts["hypervolume"] == pytest.approx(found.hypervolume(*names))
    done = cli("report runs --column size", 1)
    assert "--column must be names of columns" in done.stderr


def test_files(cli, here, found):
    options = "--html report.html --winner model.tflite --csv board.csv"
    cli(f"report runs {options} --plot front.svg")
    page = (here / "report.html").read_text(encoding="utf-8")
    assert "1 rejected" in page and "model.tflite: " in page
    assert "FULLY_CONNECTED" in page
    assert (here / "front.svg").read_text().startswith("<?xml")
    assert (here / "board.csv").read_text().startswith("pattern,num_groups,parameters")


def test_what_is_at_fault_is_told_before_the_work(cli, found):
    done = cli("report runs --winner model.tflite", 2)
    assert "--winner is told on the page: add --html" in done.stderr
    done = cli("report runs --column params --plot front.svg", 2)
    assert "--plot draws two columns: repeat --column" in done.stderr
    done = cli("report runs --html gone/report.html", 1)
    assert "can only be written into an existing folder" in done.stderr
    assert "A picture ends in" in cli("report runs --plot report.txt", 2).stderr
    done = cli("report runs --html report.html --winner text.tflite", 1)
    assert "text.tflite" in done.stderr


def test_a_search_without_a_score(cli_json, cli, here):
    synthetic.write("runs", SearchResults((synthetic.unscored(0),), synthetic.ONE))
    facts = cli_json("report runs --html report.html")
    assert facts["pareto_front"] == []
    assert (facts["knee"], facts["hypervolume"]) == (None, None)
    assert "Pareto" not in cli("report runs").stdout
    assert "1 failed" in (here / "report.html").read_text(encoding="utf-8")
