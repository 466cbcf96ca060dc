"""Earlier searches: what of them a new one may learn from."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
import synthetic_search as synthetic
from quick_search import patterns, quick

from keras_share.search import SearchResults, SharingSearch
from keras_share.search.project.earlier import observations
from keras_share.search.trial import objectives

SCORE = objectives.get("val_accuracy")


@pytest.mark.parametrize(
    "names", [("sharing",), ("mixing",), ("encoder/sharing",), ("attention", "ffn")]
)
def test_folder_and_csv_say_the_same(names, tmp_path):
    results = synthetic.search(trials=5, names=names)
    folder = synthetic.write(tmp_path / "p", results)
    results.to_csv(tmp_path / "board.csv")
    of_folder = observations(folder, SCORE)
    of_csv = observations(tmp_path / "board.csv", SCORE)

    def told(found):
        return sorted((o.scores, sorted(o.point.items())) for o in found)

    assert of_folder[0].point.keys() >= set(names)
    assert told(of_csv) == told(of_folder)


def test_numbers_keep_their_type_beside_trials_without_one(tmp_path):
    path = tmp_path / "board.csv"
    path.write_text(
        "val_accuracy,hp/depth,hp/rate,hp/bias\n0.5,3,0.5,True\n0.6,,1.0,\n"
    )
    first, second = observations(path, SCORE)
    assert first.point == {"depth": 3, "rate": 0.5, "bias": True}
    assert type(first.point["depth"]) is int  # as of a layer's units
    assert second.point == {"rate": 1.0}


def test_scores_that_are_not_finite_are_left_out(tmp_path):
    scores = [0.5, np.nan, np.inf]
    records = [
        replace(record, metrics={"val_accuracy": value}, score=value)
        for record, value in zip(
            synthetic.search(trials=3).records, scores, strict=True
        )
    ]
    results = SearchResults(tuple(records), synthetic.ONE)
    results.to_csv(tmp_path / "board.csv")
    (kept,) = observations(tmp_path / "board.csv", SCORE)
    assert kept.scores == (-0.5,)


@pytest.mark.parametrize("status", ["PRUNED", "REJECTED"])
def test_only_completed_trials_are_learned_from(status, tmp_path):
    """The others may have a score, too: that of the epochs before they were stopped."""
    first, second = synthetic.search(trials=2).records
    results = SearchResults((first, replace(second, status=status)), synthetic.ONE)
    folder = synthetic.write(tmp_path / "p", results)
    results.to_csv(tmp_path / "board.csv")
    for source in (folder, tmp_path / "board.csv"):
        (kept,) = observations(source, SCORE)
        assert kept.scores == (-first.score,)


def test_a_new_search_learns_from_the_csv(tmp_path):
    first = quick(SharingSearch, tmp_path / "first", max_trials=6)
    first.search(verbose=0)
    first.results.to_csv(tmp_path / "board.csv")
    tuner = quick(
        *(SharingSearch, tmp_path / "second"),
        **{"max_trials": 4, "earlier": tmp_path / "board.csv"},
    )
    tuner.search(verbose=0)
    known = tuner.oracle.problem().observations
    assert [str(o.point["sharing"]) for o in known[6:]] == patterns(tuner)
    assert sorted(str(o.point["sharing"]) for o in known[:6]) == sorted(patterns(first))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "`earlier` must be the folder of a search .* which does not exist"),
        (b"", "`earlier` must be a folder or a CSV file"),
        (b"\x89PNG\xff\x00", "`earlier` must be a folder or a CSV file"),
        (b"val_accuracy\nhigh\n", "values for val_accuracy. Received: .* with 1 comp"),
        (b"a,b\n1,2\n", "values for val_accuracy. Received: .* with 1 completed"),
    ],
    ids=["missing", "empty", "binary", "words", "foreign"],
)
def test_what_is_no_search(content, message, tmp_path):
    path = tmp_path / "board.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        observations(path, SCORE)


HEADER = "pattern,val_accuracy,status,trial_id,hp/units\n"


@pytest.mark.parametrize(
    "rows, kept",
    [
        ("AABB,0.9,COMPLETED,0,3\nAABB,x,COMPLETED,1,3\n", 1),
        ("AABB,0.9,COMPLETED,0,3,,,,\nABAB,0.8,COMPLETED,1,3\n", 2),
    ],
)
def test_a_row_that_is_odd_takes_no_other_with_it(rows, kept, tmp_path):
    path = tmp_path / "board.csv"
    path.write_text(HEADER + rows)
    found = observations(path, SCORE)
    assert len(found) == kept and found[0].point["units"] == 3


@pytest.mark.parametrize(
    "row, told",
    [
        ("sharing=,0.9,COMPLETED,7,3", r"board\.csv', trial 7 \(`labels` must name"),
        (f"{'A' * 5000},0.9,COMPLETED,7,3", "trial 7 .*at most 4096 sites"),
        (f"AABB,{'9' * 500},COMPLETED,7,3", "must be a folder or a CSV file"),
    ],
)
def test_rows_that_nothing_can_be_made_of(row, told, tmp_path):
    path = tmp_path / "board.csv"
    path.write_text(f"{HEADER}{row}\n")
    with pytest.raises(ValueError, match=told):
        observations(path, SCORE)


def test_nothing_is_unpacked(tmp_path):
    path = tmp_path / "board.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}AABB,0.9,COMPLETED,0,3\n".encode()))
    with pytest.raises(ValueError, match="must be a folder or a CSV file"):
        observations(path, SCORE)
