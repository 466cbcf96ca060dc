"""The tables and the picture of a search."""

import itertools
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import synthetic_search
import synthetic_search as synthetic
from matplotlib.figure import Figure

from keras_share import SharingPattern
from keras_share.search import SearchResults, pareto
from keras_share.search.project.record import TrialRecord, parse_patterns


def row(number, score, exported_bytes, pattern="ABA", **kwargs):
    content = {
        "trial_id": f"{number:03}",
        "status": "COMPLETED",
        "patterns": parse_patterns(pattern),
        "parameters": 100 + number,
        "score": score,
        "metrics": {
            "val_accuracy": score,
            "val_loss": number / 7,
        },
        "measures": {"exported_bytes": exported_bytes},
        "seconds": 1.5,
        "hyperparameters": {"units": number},
        **kwargs,
    }
    return TrialRecord(**content)


def failed(number, **kwargs):
    empty = {"status": "FAILED", "metrics": {}, "measures": {}}
    message = "Traceback (most recent call last):\n  ...\nOSError: no such weights\n"
    return row(number, None, None, **{**empty, "message": message, **kwargs})


def results(*found, direction="max"):
    return SearchResults(tuple(found), {"val_accuracy": direction})


def random_results(seed, direction="max", trials=40):
    rng = np.random.default_rng(seed)
    # Few different values, so that ties of all kinds occur.
    scores, sizes = rng.integers(0, 8, (2, trials))
    found = [
        row(i, float(score), int(size))
        for i, (score, size) in enumerate(zip(scores, sizes, strict=True))
    ]
    return results(*found, failed(trials), direction=direction)


def test_leaderboard():
    board = results(
        row(0, 0.5, 2000, "AAA"),
        failed(1, pattern="", parameters=None),
        row(2, 0.9, 3000, "ABC"),
        row(3, 0.5, 1000, "AAB", hyperparameters={"units": 3, "lr": 0.1}),
    ).leaderboard()
    assert list(board) == [
        *("pattern", "num_groups", "parameters", "val_accuracy", "exported_bytes"),
        *("seconds", "status", "trial_id", "val_loss", "hp/units", "hp/lr"),
        "message",
    ]
    assert list(board["trial_id"]) == ["002", "000", "003", "001"]
    assert list(board.index) == [0, 1, 2, 3]
    assert board["parameters"].dtype == board["exported_bytes"].dtype == "Int64"
    assert list(board["parameters"].dropna()) == [102, 100, 103]
    assert board["message"].iloc[3] == "OSError: no such weights"
    assert board.iloc[3][["num_groups", "val_accuracy", "val_loss"]].isna().all()


def test_leaderboard_of_a_minimum():
    found = [row(i, score, 1) for i, score in enumerate([3, 1, 2])]
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
        r.trial_id: (r.measures["exported_bytes"], sign * r.score)
        for r in found.records
        if r.score is not None
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
    front = found.pareto_front("parameters", "val_loss")
    assert list(front["trial_id"]) == ["000"]
    # More is better in a metric that says so, in any place.
    front = found.pareto_front("val_accuracy", "exported_bytes")
    swapped = found.pareto_front("exported_bytes", "val_accuracy")
    pair = ["val_accuracy", "exported_bytes"]
    assert set(map(tuple, front[pair].to_numpy())) == set(
        map(tuple, swapped[pair].to_numpy())
    )
    assert front["val_accuracy"].is_monotonic_increasing
    (best,) = found.pareto_front("val_accuracy").to_dict("records")
    assert best["val_accuracy"] == max(r.score for r in found.records[:-1])


def test_pareto_front_leaves_out_what_was_not_measured():
    found = results(row(0, 0.9, 10), row(1, 0.99, 5, measures={}))
    assert list(found.pareto_front()["trial_id"]) == ["000"]
    nothing = results(row(0, 0.9, 10, measures={}), row(1, 0.9, 10, measures={}))
    assert list(nothing.pareto_front()["trial_id"]) == ["000"]  # by parameters
    with pytest.raises(
        ValueError, match=r"'exported_bytes', with 2 completed.*`export"
    ):
        nothing.pareto_front("exported_bytes", "val_accuracy")
    with pytest.raises(
        ValueError, match=r"columns that have a value.*Received: 'size'"
    ):
        found.pareto_front("size")


@pytest.mark.parametrize("status", ["FAILED", "REJECTED", "PRUNED"])
def test_only_completed_trials_are_of_the_front(status):
    found = synthetic_search.with_failures(synthetic_search.search(20), status)
    small = replace(found.records[-1], measures={"exported_bytes": 1})
    found = SearchResults((*found.records[:-1], small), found.objectives)
    assert small.trial_id not in set(found.pareto_front()["trial_id"])
    assert small.trial_id in set(found.leaderboard()["trial_id"])
    assert small.trial_id not in set(found.leaderboard(average=True)["trial_id"])


def test_repeats_count_as_one_trial_with_their_mean():
    lucky = {"hyperparameters": {"units": 7}}
    found = results(
        row(0, 0.5, 1000, **lucky),
        row(1, 0.95, 1000, **lucky, seconds=4.5),
        row(2, 0.8, 1000),
        row(3, 0.9, 1000, "AAA", **lucky),
        failed(4, **lucky),
    )
    assert len(found.leaderboard()) == 5
    board = found.leaderboard(average=True)
    assert list(board["trial_id"]) == ["003", "002", "001"]
    assert list(board["trials"]) == [1, 1, 2]
    last = board.iloc[2]
    assert (last["val_accuracy"], last["seconds"]) == (0.725, 3.0)
    assert last["val_loss"] == pytest.approx(1 / 14)
    assert board["exported_bytes"].dtype == "Int64"
    assert list(found.pareto_front()["trial_id"]) == ["003"]


def test_numbers_of_patterns_may_encode_equal_ones_differently():
    choice = {"patterns": {"sharing": SharingPattern("ABA")}}
    found = results(
        *(
            row(i, 0.5, 10, **choice, hyperparameters={"sharing": i, "sharing.2": 3})
            for i in range(3)
        )
    )
    assert list(found.leaderboard(average=True)["trials"]) == [3]


def test_the_order_of_hyperparameters_makes_no_other_choice():
    choices = {"units": 7, "rate": 0.1}, {"rate": 0.1, "units": 7}
    found = results(
        *(row(i, 0.5, 10, hyperparameters=chosen) for i, chosen in enumerate(choices))
    )
    assert list(found.leaderboard(average=True)["trials"]) == [2]


def three_objectives(**kwargs):
    objectives = {**synthetic_search.OBJECTIVES, "latency_ms": "min"}
    return synthetic_search.search(objectives=objectives, **kwargs)


def test_several_objectives():
    found = three_objectives()
    names = ["exported_bytes", "latency_ms", "val_accuracy"]
    assert list(found.objectives.items()) == [
        *(("val_accuracy", "max"), ("exported_bytes", "min"), ("latency_ms", "min"))
    ]
    front = found.pareto_front()
    points = found.leaderboard()[names].to_numpy(float) * [1, 1, -1]
    expected = points[pareto.non_dominated(points)]
    np.testing.assert_allclose(
        front[names].to_numpy(float) * [1, 1, -1],
        expected[np.lexsort(expected.T[::-1])],
    )
    assert len(front) > len(found.pareto_front("exported_bytes", "val_accuracy"))
    worst = points.max(axis=0)
    assert found.hypervolume() == pytest.approx(pareto.hypervolume(points, worst))
    knee = found.knee()
    assert knee["trial_id"] == front["trial_id"][knee.name]
    assert knee.name == pareto.knee(front[names].to_numpy(float) * [1, 1, -1])


def test_hypervolume():
    found = results(row(0, 0.5, 1000), row(1, 0.75, 3000), row(2, 0.25, 4000))
    assert found.hypervolume() == 3000 * 0.25 + 1000 * 0.25
    worst = {"val_accuracy": 0, "exported_bytes": 5000}
    assert found.hypervolume(reference=worst) == 4000 * 0.5 + 2000 * 0.25
    assert found.hypervolume("val_accuracy") == 0.5
    assert results(row(0, float("inf"), 10)).hypervolume() == 0
    with pytest.raises(ValueError, match=r"must name columns of the volume \(exported"):
        found.hypervolume(reference={"seconds": 3})


def test_knee():
    found = results(row(0, 0.5, 1000), row(1, 0.75, 1500), row(2, 0.8, 4000))
    assert found.knee()["trial_id"] == "001"
    assert found.knee("exported_bytes")["trial_id"] == "000"
    with pytest.raises(ValueError, match="0 completed trials"):
        results(failed(0)).knee()


def test_direction_is_checked():
    with pytest.raises(ValueError, match="`objectives` must have 'min' or 'max'"):
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
    found = synthetic.with_failures(
        synthetic.search(trials=6, objectives=synthetic.OBJECTIVES), "FAILED", "PRUNED"
    )
    folder = synthetic.write(tmp_path / "p", found)
    loaded = SearchResults.load(str(folder))
    assert loaded.objectives == found.objectives
    same = ["pattern", "num_groups", "val_accuracy", "val_loss", "status"]
    pd.testing.assert_frame_equal(
        loaded.leaderboard()[same], found.leaderboard()[same], rtol=1e-5
    )
    url = f"sqlite:///{folder}/study.db"
    assert SearchResults.load(tmp_path / "elsewhere" / "p", url) == loaded
    with pytest.raises(FileNotFoundError, match="There must be a study of the name"):
        SearchResults.load(tmp_path / "q", url)


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
    assert ax.get_xlabel() == "size of the exported file (kB)"
    front = found.pareto_front()
    numbers = [str(number) for number in range(1, len(front) + 1)]
    said = [text.get_text() for text in ax.texts]
    assert said == [*numbers, *front["pattern"]]
    assert len(ax.collections[0].get_offsets()) == len(found) - 1
    line = ax.lines[0].get_xydata()
    np.testing.assert_allclose(line[:, 0] * 1000, front["exported_bytes"].astype(float))
    np.testing.assert_allclose(line[:, 1], front["val_accuracy"])


def test_plot_into_axes_of_the_user(tmp_path):
    axes = Figure().subplots(1, 2)
    found = results(row(0, 0.5, 1000), row(1, 0.6, 2000, pattern=""))
    assert found.plot_pareto(ax=axes[0]) is axes[0]
    ax = found.plot_pareto(
        tmp_path / "p.svg", ax=axes[1], columns=("parameters", "val_loss")
    )
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("parameters", "val_loss")
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
