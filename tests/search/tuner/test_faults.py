"""Real processes that die, or that nobody lets write."""

import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from pathlib import Path

import pytest
from killed_search import (
    TRIALS,
    grid_search,
    random_search,
    score_of,
    search_without_room,
)
from quick_search import ALL, Untrained, quick

from keras_share.search import GridSearch, SearchResults

NOBODY = 65534


@pytest.fixture(scope="module")
def start():
    """Starts a function in a process of its own, of which Keras is already loaded."""
    tests = str(Path(__file__).parents[2])
    with pytest.MonkeyPatch.context() as patches:
        patches.setenv("PYTHONPATH", tests)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["killed_search"])

        def start(function, *args):
            process = context.Process(target=function, args=args)
            process.start()
            return process

        yield start


def project(folder):
    return Path(folder) / "untitled_project"


def finished(folder):
    """The trials that have ended, as KerasTuner has them."""
    found = {}
    for path in project(folder).glob("trial_*/trial.json"):
        trial = json.loads(path.read_text())
        if trial["status"] == "COMPLETED":
            found[trial["trial_id"]] = trial["score"]
    return found


def test_twenty_kills_lose_and_repeat_nothing(start, tmp_path):
    rng = random.Random(0)
    journal = tmp_path / "journal"
    journal.touch()
    earlier, kills = {}, 0
    while kills < 20:
        begun = journal.stat().st_size
        process = start(random_search, tmp_path)
        while journal.stat().st_size == begun and process.is_alive():
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the search was over too soon"
        kills += 1
        results = SearchResults.load(project(tmp_path)).records if earlier else ()
        assert {row.trial_id for row in results} >= earlier.keys()
        patterns = journal.read_text()[:begun].split()
        again = journal.read_text()[begun:].split()
        # Only the trial that was running begins again.
        assert len(set(patterns) & set(again)) <= 1
        now = finished(tmp_path)
        assert now.items() >= earlier.items()
        earlier = now
    last = start(random_search, tmp_path)
    last.join()
    assert last.exitcode == 0

    whole = start(random_search, tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    whole.join()
    assert whole.exitcode == 0
    rows = SearchResults.load(project(tmp_path)).records
    expected = SearchResults.load(project(tmp_path / "whole")).records
    assert len(rows) == TRIALS
    assert len({row.pattern for row in rows}) == TRIALS
    assert finished(tmp_path).items() >= earlier.items()
    for row, undisturbed in zip(rows, expected, strict=True):
        assert row.trial_id == undisturbed.trial_id
        assert row.pattern == undisturbed.pattern
        if row.status == "COMPLETED":
            assert row.score == score_of(row.pattern)
        else:
            assert row.message.startswith("the process died 2 times")
    assert journal.read_text().split().count(rows[-1].pattern) == 1


def test_process_that_its_trial_kills(start, tmp_path):
    deadly = "AAAAAB"
    for code in (-signal.SIGKILL, -signal.SIGKILL, 0):
        process = start(grid_search, tmp_path, [deadly])
        process.join()
        assert process.exitcode == code
    rows = SearchResults.load(project(tmp_path)).records
    status = {row.pattern: row.status for row in rows}
    assert status.pop(deadly) == "FAILED"
    assert list(status.values()) == ["COMPLETED"] * 3
    message = next(row.message for row in rows if row.pattern == deadly)
    assert message == (
        "the process died 2 times while it ran this trial, probably out of memory"
    )


def outcome(start, tmp_path, folder, size, user=None):
    """What a search in a process of its own ended with."""
    file = tmp_path / "outcome"
    process = start(search_without_room, folder, size, file, user)
    process.join()
    assert process.exitcode == 0
    return json.loads(file.read_text() or "null")


def test_disk_without_room(start, tmp_path):
    kind, message = outcome(start, tmp_path, tmp_path, 6000)
    assert kind == "OSError"
    assert "must be writable and have room for" in message
    assert "oracle.json" in message
    held = finished(tmp_path)
    assert 2 < len(held) < TRIALS
    assert outcome(start, tmp_path, tmp_path, 10**8) is None
    assert len(SearchResults.load(project(tmp_path))) == TRIALS
    assert finished(tmp_path).items() >= held.items()
    assert not [p for p in project(tmp_path).rglob("*.tmp")]


def test_folder_that_is_read_only(start, tmp_path):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        assert outcome(start, tmp_path, folder, 6000)[0] == "OSError"
        held = SearchResults.load(project(folder))
        folders = [Path(folder), *(p for p in Path(folder).rglob("*") if p.is_dir())]
        for path in folders:
            path.chmod(0o555)
        user = NOBODY if os.geteuid() == 0 else None
        kind, message = outcome(start, tmp_path, folder, 10**8, user)
        assert kind == "PermissionError"
        assert "must be writable" in message
        assert SearchResults.load(project(folder)) == held
        for path in folders:
            path.chmod(0o755)


def test_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(OSError, match=r"`directory` and `project_name` must name a"):
        quick(GridSearch, tmp_path / "runs")


def test_memory_error_and_nan(tmp_path, capsys):
    def score(pattern):
        if str(pattern) == ALL[1]:
            raise MemoryError("unable to allocate 9 GB")
        return float("nan") if str(pattern) == ALL[2] else 0.5

    tuner = quick(GridSearch, tmp_path, Untrained(score), max_trials=5)
    tuner.search(verbose=0)
    board = tuner.leaderboard().set_index("pattern")
    assert (board["status"] == "FAILED").sum() == 2
    assert board["message"][ALL[1]] == "MemoryError: unable to allocate 9 GB"
    assert board["message"][ALL[2]] == "val_accuracy is NaN"
    assert "Traceback" in capsys.readouterr().err
