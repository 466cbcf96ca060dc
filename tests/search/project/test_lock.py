"""Two processes that search in one folder."""

import subprocess
import sys

import pytest
from quick_search import Untrained, quick

from keras_share.search import GridSearch

HOLD = """
import sys, time, filelock
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that searches in a folder."""
    path = tmp_path / "untitled_project" / "search.lock"
    path.parent.mkdir()
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_told(other, tmp_path):
    tuner = quick(GridSearch, tmp_path, max_trials=2)
    with pytest.raises(BlockingIOError, match=r"Only one process .*untitled_project"):
        tuner.search(verbose=0)
    assert tuner.hypermodel.fits == 0 and len(tuner.results) == 0
    with pytest.raises(BlockingIOError, match=r"another `project_name`.*--workers"):
        quick(GridSearch, tmp_path, overwrite=True)
    other.kill()  # the lock ends with its process
    other.wait()
    tuner.search(verbose=0)
    assert len(tuner.results) == 2


def test_what_another_has_done_meanwhile_is_not_done_again(tmp_path):
    first, second = (Untrained(), Untrained())
    tuners = [
        quick(GridSearch, tmp_path, model, max_trials=4) for model in (first, second)
    ]
    for tuner in tuners:
        tuner.search(verbose=0)
    assert (first.fits, second.fits) == (4, 0)
    assert len(tuners[1].results) == len(tuners[1].oracle.trials) == 4
