"""A search by several processes of one machine, beside those of others."""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from keras_share.search.display.live import display
from keras_share.search.display.progress import SilentProgress
from keras_share.search.launching.crew import Crew, environments
from keras_share.search.launching.script import faults_of, prepare
from keras_share.search.project.connection import VARIABLE
from keras_share.search.project.record import format_patterns
from keras_share.search.project.study import Project
from keras_share.search.results import SearchResults
from keras_share.search.space.numbering import patterns_from_values
from keras_share.search.tuner.sharing_search import SharingSearch

_TICK = 0.5  # seconds between two looks at the study


@dataclass(frozen=True)
class Launch:
    """How to start the workers of one machine.

    Args:
        function: `MODULE:FUNCTION` of the user, which each process calls.
        workers: Number of worker processes.
        storage: Where the study is kept, where the user's function doesn't say; see
            `SharingSearch`.
        recycle: A worker's process is replaced after this many trials, as TensorFlow
            keeps about 11 MB of each.
        threads: Threads of each worker; by default they share the cores.
        gpus: Whether each worker gets a GPU of its own.
    """

    function: str
    workers: int
    storage: str | None = None
    recycle: int = 20
    threads: int | None = None
    gpus: bool = False


def alone(launch: Launch) -> SearchResults:
    """Searches in this process; `search` says what it returns and raises."""
    with _kept_in(launch.storage):
        tuner, arguments = prepare(launch.function)
        with faults_of(launch.function):
            tuner.search(**arguments)
        return tuner.results


def search(launch: Launch) -> SearchResults:
    """Searches with workers on this machine; others may search at the same time.

    Returns:
        What the workers of all machines found.

    Raises:
        ValueError: If the user's function fails, or the search it made.
        ChildProcessError: If a worker ends with an error, or dies again and again.
        ConnectionError: If the storage doesn't answer.
    """
    own = environments(launch.workers, launch.threads, launch.gpus)
    with _kept_in(launch.storage):
        tuner, arguments = prepare(launch.function)
        with faults_of(launch.function):
            _search(launch, own, tuner, arguments)
        return tuner.results


def _search(
    launch: Launch,
    own: Sequence[Mapping[str, str]],
    tuner: SharingSearch,
    arguments: dict[str, Any],
) -> None:
    verbose = arguments.pop("verbose", "auto")
    tuner.prepare(**arguments)
    project = tuner.oracle.project
    machine = f"{socket.gethostname()}-{os.getpid()}"
    names = [f"{machine}-{number}" for number in range(launch.workers)]
    module = "keras_share.search.launching.worker"
    crew = Crew(
        [sys.executable, "-m", module, launch.function, str(launch.recycle)],
        names,
        Path(tuner.project_dir, "logs"),
        own,
    )
    progress = display(verbose, project.records(), tuner.oracle.max_trials)
    try:
        with progress, crew:
            while not crew.is_done:
                time.sleep(_TICK)
                show(project, progress)
                if tuner.oracle.halted:
                    raise RuntimeError(tuner.oracle.halted)
                crew.check(_ended(progress))
            show(project, progress)
    finally:
        # Their processes were ended, and did not die of them.
        for trial in project.trials():
            is_running = trial.state == TrialState.RUNNING
            if is_running and trial.user_attrs.get("worker") in names:
                project.release(trial.number)


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


def show(project: Project, progress: SilentProgress) -> None:
    """Shows what has happened in a study since it was shown last."""
    for record in project.records():
        if record.trial_id not in progress.records:
            progress.on_end(record)
            if record.status == "FAILED":
                where = f" (on {record.worker})" if record.worker else ""
                print(
                    f"Trial {record.trial_id} failed: {record.reason}{where}",
                    file=sys.stderr,
                )
    running = [t for t in project.trials() if t.state == TrialState.RUNNING]
    names = {trial.user_attrs.get("worker", ""): trial for trial in running}
    for worker in progress.running.keys() - names.keys():
        progress.on_gone(worker)
    for worker, trial in names.items():
        epochs = [epoch + 1 for epoch in trial.intermediate_values]
        progress.on_trial(str(trial.number), worker)
        patterns = patterns_from_values(trial.params, trial.user_attrs)
        progress.on_pattern(format_patterns(patterns), worker)
        planned = trial.user_attrs.get("planned_epochs")
        progress.on_epoch(max(epochs, default=0), planned, worker)


def _ended(progress: SilentProgress) -> dict[str, int]:
    """How many trials each worker has ended."""
    found: dict[str, int] = {}
    for record in progress.records.values():
        name = record.worker or ""
        found[name] = found.get(name, 0) + 1
    return found
