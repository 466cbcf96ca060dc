"""Real processes that die, that are stopped, or that nobody lets write."""

import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import killed_search
import pytest
from killed_search import TRIALS, score_of
from quick_search import ALL, Untrained, quick

from keras_share.search import SearchResults, SharingSearch

NOBODY = 65534
KILLS = 6  # twenty passed, too


@pytest.fixture(scope="module")
def start():
    """Starts a function in a process of its own, of which Keras is already loaded."""
    tests = str(Path(__file__).parents[2])
    with pytest.MonkeyPatch.context() as patches:
        patches.setenv("PYTHONPATH", tests)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["warmed_search"])

        def start(function, *args, **kwargs):
            process = context.Process(target=function, args=args, kwargs=kwargs)
            process.start()
            return process

        yield start


def results(folder):
    return SearchResults.load(Path(folder) / "untitled_project").records


def journal(folder):
    """The patterns that were begun, and the processes that began them."""
    path = Path(folder, "journal")
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [line.split() for line in lines]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def check_whole(records, trials=TRIALS):
    """Each trial is accounted for once, with its own score."""
    assert len(records) == trials
    assert len({row.pattern for row in records}) == trials
    for row in records:
        if row.status == "COMPLETED":
            assert row.score == score_of(row.pattern)
        else:
            assert "its process ended again and again while it ran" in row.message


def test_kills_lose_and_repeat_nothing(start, tmp_path):
    rng = random.Random(0)
    earlier = {}
    for _ in range(KILLS):
        begun = len(journal(tmp_path))
        process = start(killed_search.whole, tmp_path)
        wait_for(lambda n=begun: len(journal(tmp_path)) > n)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the search was over too soon"
        patterns = [pattern for _, pattern in journal(tmp_path)]
        # Only the trial that was running begins again.
        assert len({*patterns[:begun]} & {*patterns[begun:]}) <= 1
        now = {}
        if earlier or len(patterns) - begun > 1:
            now = {row.trial_id: row.score for row in results(tmp_path)}
        assert now.items() >= earlier.items()
        earlier = now
    last = start(killed_search.whole, tmp_path, max_trials=40)
    last.join()
    assert last.exitcode == 0

    (tmp_path / "whole").mkdir()
    undisturbed = start(killed_search.whole, tmp_path / "whole", max_trials=40)
    undisturbed.join()
    rows, expected = results(tmp_path), results(tmp_path / "whole")
    check_whole(rows, 40)
    assert [r.pattern for r in rows] == [r.pattern for r in expected]
    assert {r.trial_id: r.score for r in rows}.items() >= earlier.items()


def test_killed_before_every_write(start, tmp_path):
    """Whatever was written last, the search goes on to the same end."""
    expected = None
    for number in range(100):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = start(killed_search.killed_at_write, folder, number)
        process.join()
        last = start(killed_search.whole, folder, max_trials=2)
        last.join()
        assert last.exitcode == 0
        rows = [(row.pattern, row.score, row.status) for row in results(folder)]
        expected = expected or rows
        assert rows == expected
        assert {status for _, _, status in rows} == {"COMPLETED"}
        counts = Counter(pattern for _, pattern in journal(folder))
        assert max(counts.values()) <= 2
        if process.exitcode == 0:  # it wrote less often than that
            break
    assert number > 7
    assert len(expected) == 2


def test_process_that_its_trial_kills(start, tmp_path):
    deadly = journal_of_one(start, tmp_path / "first")
    for code in (*[-signal.SIGKILL] * 3, 0):
        process = start(killed_search.whole, tmp_path, deadly=[deadly], max_trials=4)
        process.join()
        assert process.exitcode == code
    status = {row.pattern: row for row in results(tmp_path)}
    dead = status.pop(deadly)
    assert dead.status == "FAILED"
    assert "its process ended again and again while it ran" in dead.message
    assert [row.status for row in status.values()] == ["COMPLETED"] * 3


def journal_of_one(start, folder):
    folder.mkdir()
    start(killed_search.whole, folder, max_trials=1).join()
    return journal(folder)[0][1]


def test_two_processes_share_one_project(start, tmp_path):
    both = [start(killed_search.whole, tmp_path, policy="surrogate") for _ in range(2)]
    for process in both:
        process.join()
        assert process.exitcode == 0
    rows = results(tmp_path)
    check_whole(rows)
    assert len(journal(tmp_path)) == TRIALS
    # Each did a part of the work.
    assert min(Counter(pid for pid, _ in journal(tmp_path)).values()) > 2
    assert len({row.worker for row in rows}) == 2


def test_four_workers_one_killed_one_stopped_one_late(start, tmp_path):
    arguments = {"seconds": 0.3, "lost": 3}
    first = [start(killed_search.impatient, tmp_path, **arguments) for _ in range(3)]
    wait_for(lambda: len({pid for pid, _ in journal(tmp_path)}) == 3)
    killed, stopped, _ = first
    killed.kill()
    # Stopped while it trains: it begins a trial, and is stopped at once.
    mine = len([pid for pid, _ in journal(tmp_path) if pid == str(stopped.pid)])
    wait_for(
        lambda: len([p for p, _ in journal(tmp_path) if p == str(stopped.pid)]) > mine
    )
    os.kill(stopped.pid, signal.SIGSTOP)
    late = start(killed_search.impatient, tmp_path, **arguments)
    held = journal(tmp_path)
    last = next(pattern for pid, pattern in held[::-1] if pid == str(stopped.pid))
    # Its trial is given to another while it is silent.
    wait_for(lambda: [p for _, p in journal(tmp_path)].count(last) == 2)
    os.kill(stopped.pid, signal.SIGCONT)
    for process in (first[1], first[2], late):
        process.join()
        assert process.exitcode == 0
    check_whole(results(tmp_path))
    counts = Counter(pattern for _, pattern in journal(tmp_path))
    twice = [pattern for pattern, count in counts.items() if count > 1]
    assert len(twice) <= 2 and max(counts.values()) == 2  # those of two workers
    assert str(late.pid) in {pid for pid, _ in journal(tmp_path)}


def test_overwriting_a_search_that_runs(start, tmp_path):
    running = start(killed_search.whole, tmp_path, seconds=5)
    wait_for(lambda: journal(tmp_path))
    with pytest.raises(BlockingIOError, match="in which another process runs a trial"):
        quick(SharingSearch, tmp_path, overwrite=True)
    running.kill()
    running.join()
    tuner = quick(SharingSearch, tmp_path, overwrite=True)
    assert len(tuner.results) == 0


def outcome(start, tmp_path, folder, size, user=None):
    """What a search in a process of its own ended with."""
    file = tmp_path / "outcome"
    process = start(killed_search.without_room, folder, size, file, user)
    process.join()
    assert process.exitcode == 0
    return json.loads(file.read_text() or "null")


def test_disk_without_room(start, tmp_path):
    kind, message = outcome(start, tmp_path, tmp_path, 500_000)
    assert kind == "OSError"
    assert "must be readable and writable, in a folder that is writable and" in message
    held = {row.trial_id: row.score for row in results(tmp_path)}
    assert 1 < len(held) < TRIALS
    assert outcome(start, tmp_path, tmp_path, 10**8) is None
    rows = results(tmp_path)
    check_whole(rows)
    assert {r.trial_id: r.score for r in rows}.items() >= held.items()


def test_folder_that_is_read_only(start, tmp_path):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        start(killed_search.whole, folder, max_trials=3).join()
        held = results(folder)
        paths = [Path(folder), *Path(folder).rglob("*")]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        user = NOBODY if os.geteuid() == 0 else None
        kind, message = outcome(start, tmp_path, folder, 10**8, user)
        assert kind in ("OSError", "PermissionError")
        assert "must be" in message and "writable" in message
        assert results(folder) == held
        for path in paths:
            path.chmod(0o755)


def test_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(OSError, match=r"`directory` and `project_name` must name a"):
        quick(SharingSearch, tmp_path / "runs")


def test_memory_error_and_nan(tmp_path, capsys):
    def score(pattern):
        if str(pattern) == ALL[1]:
            raise MemoryError("unable to allocate 9 GB")
        return float("nan") if str(pattern) == ALL[2] else 0.5

    tuner = quick(
        SharingSearch, tmp_path, Untrained(score), max_trials=15, policy="random"
    )
    tuner.search(verbose=0)
    board = tuner.leaderboard().set_index("pattern")
    assert (board["status"] == "FAILED").sum() == 2
    assert board["message"][ALL[1]] == "MemoryError: unable to allocate 9 GB"
    assert board["message"][ALL[2]] == "val_accuracy is NaN"
    assert "Traceback" in capsys.readouterr().err
