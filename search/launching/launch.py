"""A search by one or several processes of this machine, beside those of others."""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from keras_share.search.display import Display
from keras_share.search.launching.crew import Crew, environments
from keras_share.search.launching.script import prepare
from keras_share.search.project.connection import VARIABLE
from keras_share.search.project.record import format_patterns
from keras_share.search.project.study import Project
from keras_share.search.results import SearchResults
from keras_share.search.space.numbering import patterns_from_values
from keras_share.search.trial.pruning import PLANNED
from keras_share.search.tuner.sharing_search import SharingSearch

_TICK = 0.5  # seconds between two looks at the study


def search(
    function: str,
    workers: int = 0,
    *,
    storage: str | None = None,
    recycle: int = 20,
    threads: int | None = None,
    gpus: bool = False,
) -> SearchResults:
    """Searches on this machine; others may take part at the same time.

    Args:
        function: `MODULE:FUNCTION` of the user, which each process calls.
        workers: Number of worker processes; 0 to search in this one.
        storage: Where the study is kept, where the user's function doesn't say; see
            `SharingSearch`.
        recycle: A worker's process is replaced after this many trials, as TensorFlow
            keeps about 11 MB of each.
        threads: Threads of each worker; by default they share the cores.
        gpus: Whether each worker gets a GPU of its own.

    Returns:
        What the workers of all machines found.

    Raises:
        ValueError: If the user's function fails, or the search is not as it was begun.
        HaltedError: If trial after trial fails.
        ChildProcessError: If a worker ends with an error, or they die again and again.
        ConnectionError: If the storage doesn't answer.
    """
    own = environments(workers, threads, gpus) if workers else []
    with _kept_in(storage):
        tuner, arguments = prepare(function)
        if not workers:
            tuner.search(**arguments)
            return tuner.results
        machine = f"{socket.gethostname()}-{os.getpid()}"
        crew = Crew(
            [sys.executable, "-m", _WORKER, function, str(recycle)],
            {f"{machine}-{i}": one for i, one in enumerate(own)},
            Path(tuner.project_dir, "logs"),
        )
        _lead(crew, tuner, **arguments)
        return tuner.results


def _lead(
    crew: Crew, tuner: SharingSearch, verbose: Any = "auto", **arguments: Any
) -> None:
    tuner.prepare(**arguments)
    oracle, project = tuner.oracle, tuner.oracle.project
    total = oracle.max_trials
    display = Display(oracle.objectives, verbose, project.records(), total)
    try:
        with display, crew:
            while crew.processes:
                time.sleep(_TICK)
                show(project, display)
                tuner.oracle.check()
                crew.check(len(display.records))
            show(project, display)
    finally:
        # Their processes were ended, and did not die of them.
        for trial in project.trials():
            is_running = trial.state == TrialState.RUNNING
            if is_running and trial.user_attrs.get("worker") in crew.names:
                project.release(trial.number)


_WORKER = "keras_share.search.launching.worker"


@contextlib.contextmanager
def _kept_in(storage: str | None) -> Iterator[None]:
    """Tells this process and its workers of a storage, but no command line."""
    before = os.environ.get(VARIABLE)
    if storage is not None:
        os.environ[VARIABLE] = storage
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def show(project: Project, display: Display) -> None:
    """Shows what has happened in a study since it was shown last."""
    trials = project.trials()
    for record in project.records(trials):
        if record.trial_id not in display.records:
            display.ended(record)
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    by_worker = {trial.user_attrs.get("worker", ""): trial for trial in running}
    for worker in display.running - by_worker.keys():
        display.rests(worker)
    for worker, trial in by_worker.items():
        patterns = patterns_from_values(trial.params, trial.user_attrs)
        epoch = max((epoch + 1 for epoch in trial.intermediate_values), default=0)
        said = f"trial {trial.number}  {format_patterns(patterns)}"
        display.runs(said, epoch, trial.user_attrs.get(PLANNED), worker)
