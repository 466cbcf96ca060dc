"""The tables and the picture of a search."""

import itertools
import os

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from keras_share import SharingPattern
from keras_share.search import SearchResults
from keras_share.search import rows as rows_module


def row(number, score, exported_bytes, pattern="ABA", direction="max", **kwargs):
    metrics = {
        "val_accuracy": {"value": score, "direction": direction},
        "val_loss": {"value": number / 7, "direction": "min"},
    }
    return {
        "trial_id": f"{number:03}",
        "status": "COMPLETED",
        "pattern": pattern,
        "num_groups": SharingPattern(pattern).num_groups,
        "parameters": 100 + number,
        "objective": "val_accuracy",
        "direction": direction,
        "score": score,
        "metrics": metrics,
        "measures": {"exported_bytes": exported_bytes},
        "seconds": 1.5,
        "hyperparameters": {"sharing": number},
        "message": None,
        **kwargs,
    }


def failed(number, **kwargs):
    empty = {"status": "FAILED", "score": None, "metrics": {}, "measures": {}}
    message = "Traceback (most recent call last):\n  ...\nOSError: no such weights\n"
    return {**row(number, None, None), **empty, "message": message, **kwargs}


def results(*found, direction="max"):
    return SearchResults(tuple(found), "val_accuracy", direction)


def random_results(seed, direction="max", trials=40):
    rng = np.random.default_rng(seed)
    # Few different values, so that ties of all kinds occur.
    scores, sizes = rng.integers(0, 8, (2, trials))
    found = [
        row(i, float(score), int(size), direction=direction)
        for i, (score, size) in enumerate(zip(scores, sizes, strict=True))
    ]
    return results(*found, failed(trials), direction=direction)


def test_leaderboard():
    board = results(
        row(0, 0.5, 2000, "AAA"),
        failed(1, num_groups=None, pattern="", parameters=None),
        row(2, 0.9, 3000, "ABC"),
        row(3, 0.5, 1000, "AAB", hyperparameters={"sharing": 3, "lr": 0.1}),
    ).leaderboard()
    assert list(board) == [
        *("pattern", "num_groups", "parameters", "val_accuracy", "exported_bytes"),
        *("seconds", "status", "trial_id", "val_loss", "hp/sharing", "hp/lr"),
        "message",
    ]
    assert list(board["trial_id"]) == ["002", "000", "003", "001"]
    assert list(board.index) == [0, 1, 2, 3]
    assert board["parameters"].dtype == board["exported_bytes"].dtype == "Int64"
    assert list(board["parameters"].dropna()) == [102, 100, 103]
    assert board["message"].iloc[3] == "OSError: no such weights"
    assert board.iloc[3][["num_groups", "val_accuracy", "val_loss"]].isna().all()


def test_leaderboard_of_a_minimum():
    found = [row(i, score, 1, direction="min") for i, score in enumerate([3, 1, 2])]
    board = results(*found, direction="min").leaderboard()
    assert list(board["val_accuracy"]) == [1, 2, 3]


def test_empty():
    board = results().leaderboard()
    assert len(board) == 0
    assert {"pattern", "val_accuracy", "exported_bytes"} <= set(board)
    with pytest.raises(ValueError, match="0 completed trials"):
        results().pareto_front()


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize("seed", range(12))
def test_pareto_front_against_brute_force(seed, direction):
    found = random_results(seed, direction)
    sign = -1 if direction == "max" else 1
    points = {
        r["trial_id"]: (r["measures"]["exported_bytes"], sign * r["score"])
        for r in found.rows
        if r["score"] is not None
    }

    def dominated(trial_id):
        x, y = points[trial_id]
        return any(
            (a <= x and b <= y and (a, b) != (x, y))
            or ((a, b) == (x, y) and other < trial_id)
            for other, (a, b) in points.items()
        )

    expected = {trial_id for trial_id in points if not dominated(trial_id)}
    front = found.pareto_front()
    assert set(front["trial_id"]) == expected
    steps = front[["exported_bytes", "val_accuracy"]].astype(float).diff().dropna()
    assert (steps["exported_bytes"] > 0).all()
    assert (steps["val_accuracy"] * sign < 0).all()


def test_pareto_front_of_other_columns():
    found = random_results(3)
    # Both grow with the number of the trial, and less is better in both.
    front = found.pareto_front(x="parameters", y="val_loss")
    assert list(front["trial_id"]) == ["000"]
    # More is better in a metric that says so, on either axis.
    front = found.pareto_front(x="val_accuracy", y="exported_bytes")
    swapped = found.pareto_front(x="exported_bytes", y="val_accuracy")
    pair = ["val_accuracy", "exported_bytes"]
    assert set(map(tuple, front[pair].to_numpy())) == set(
        map(tuple, swapped[pair].to_numpy())
    )
    assert front["val_accuracy"].is_monotonic_increasing


def test_pareto_front_leaves_out_what_was_not_measured():
    found = results(row(0, 0.9, 10), row(1, 0.99, 5, measures={}))
    assert list(found.pareto_front()["trial_id"]) == ["000"]
    nothing = results(row(0, 0.9, 10, measures={}))
    with pytest.raises(
        ValueError, match=r"'exported_bytes', with 1 completed.*`export"
    ):
        nothing.pareto_front()
    with pytest.raises(
        ValueError, match=r"columns that have a value.*Received: 'size'"
    ):
        found.pareto_front(x="size")


def test_direction_is_checked():
    with pytest.raises(ValueError, match="`direction` must be 'min' or 'max'"):
        results(direction="up")


def test_csv(tmp_path):
    found = random_results(0)
    found.to_csv(tmp_path / "board.csv")
    read = pd.read_csv(tmp_path / "board.csv", dtype={"trial_id": str})
    assert list(read["trial_id"]) == list(found.leaderboard()["trial_id"])
    assert os.listdir(tmp_path) == ["board.csv"]


def test_load(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`project_dir` must be the folder"):
        SearchResults.load(tmp_path)
    found = random_results(0, "min")
    for written in found.rows:
        rows_module.write(tmp_path, written)
    (rows_module.folder(tmp_path) / ".099.tmp").write_text('{"trial_id": ')
    assert SearchResults.load(str(tmp_path)) == found


def plotted(trials=40, sites=6):
    patterns = itertools.islice(SharingPattern.all(sites), 0, None, 5)
    return results(
        *(
            row(i, 1 - 1 / (p.num_groups + 1 + i % 3), 9000 * p.num_groups, str(p))
            for i, p in enumerate(itertools.islice(patterns, trials))
        ),
        failed(trials),
    )


def test_plot(tmp_path):
    found = plotted()
    ax = found.plot_pareto(tmp_path / "front.png")
    data = (tmp_path / "front.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n")
    assert 10_000 < len(data) < 500_000
    assert os.listdir(tmp_path) == ["front.png"]
    assert ax.get_ylabel() == "val_accuracy"
    assert ax.get_xlabel() == "size of the exported file (KB)"
    front = found.pareto_front()
    assert [text.get_text() for text in ax.texts] == list(front["pattern"])
    assert len(ax.collections[0].get_offsets()) == len(found) - 1
    line = ax.lines[0].get_xydata()
    np.testing.assert_allclose(line[:, 0] * 1024, front["exported_bytes"].astype(float))
    np.testing.assert_allclose(line[:, 1], front["val_accuracy"])


def test_labels_do_not_overlap():
    from matplotlib.text import Text

    ax = plotted().plot_pareto()
    boxes = [Text.get_window_extent(text) for text in ax.texts]
    assert len(boxes) > 3
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    for box in boxes:
        assert ax.bbox.contains(*box.min) and ax.bbox.contains(*box.max)


def test_plot_into_axes_of_the_user(tmp_path):
    axes = Figure().subplots(1, 2)
    found = results(row(0, 0.5, 1000), row(1, 0.6, 2000, num_groups=None))
    assert found.plot_pareto(ax=axes[0]) is axes[0]
    ax = found.plot_pareto(tmp_path / "p.svg", ax=axes[1], x="parameters", y="val_loss")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("parameters", "val_loss")
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
