"""Searches by several processes: the first machine, and those that join it."""

import contextlib
import itertools
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from keras_share.search.display.live import display
from keras_share.search.display.progress import SilentProgress
from keras_share.search.launching.chief import Chief
from keras_share.search.launching.crew import Crew, thread_environment
from keras_share.search.launching.script import faults_of, prepare
from keras_share.search.project import record_files
from keras_share.search.project.record import TrialRecord
from keras_share.search.results import SearchResults
from keras_share.search.tuner.recording import Recording

LOOPBACK = "127.0.0.1"

HEARTBEAT = 5.0  # seconds between two signs of life to a chief elsewhere

_TICK = 0.2  # seconds between two looks at the processes
_GOODBYE = 5.0  # seconds for a worker to end by itself
_SILENCE = 15.0  # seconds without the chief after which its trials are void
_PATIENCE = 300.0  # seconds to wait for a chief


@dataclass(frozen=True)
class Launch:
    """How to start the workers of one machine.

    Args:
        function: `MODULE:FUNCTION` of the user, which each process calls.
        workers: Number of worker processes.
        recycle: A worker's process is replaced after this many trials, as TensorFlow
            keeps about 11 MB of each.
        threads: Threads of each worker; by default they share the cores.
    """

    function: str
    workers: int
    recycle: int = 20
    threads: int | None = None

    def crew(
        self, tuner: Recording, names: list[str], host: str, events: queue.SimpleQueue
    ) -> Crew:
        """The workers of a chief at `host`, on the port in the environment."""
        module = "keras_share.search.launching.worker"
        return Crew(
            [sys.executable, "-m", module, self.function, str(self.recycle)],
            names,
            Path(tuner.project_dir, "logs"),
            {
                **os.environ,
                **thread_environment(self.workers, self.threads),
                "KERASTUNER_ORACLE_IP": host,
            },
            lambda *event: events.put(event),
        )


def search(
    launch: Launch, host: str = LOOPBACK, port: int | None = None
) -> SearchResults:
    """Searches as the chief, with workers on this machine.

    Args:
        launch: The workers.
        host: Address to serve at; `"0.0.0.0"` lets other machines join.
        port: Port to serve at; by default a free one.

    Returns:
        What all workers of all machines found.

    Raises:
        ValueError: If the user's function fails, or the search it made.
        ChildProcessError: If a worker dies again and again.
        OSError: If the port can't be served.
    """
    port = _free_port(host, port)
    near = LOOPBACK if host in ("0.0.0.0", "::", "localhost") else host
    with _oracle_at(host, port, "chief"):
        tuner, arguments = prepare(launch.function)
        verbose = arguments.pop("verbose", "auto")
        events: queue.SimpleQueue = queue.SimpleQueue()
        chief = Chief(tuner, arguments, lambda *event: events.put(event))
        names = [f"tuner{number}" for number in range(launch.workers)]
        crew = launch.crew(tuner, names, near, events)
        chief.start()
        while not _answers(near, port):
            _check(chief, launch.function)
            time.sleep(_TICK)
        if near != host:
            print(f"Others join with --join {socket.gethostname()}:{port}")
        # Read after the chief has mended what an earlier run left.
        earlier = record_files.read(tuner.project_dir)
        progress = display(verbose, earlier, tuner.oracle.max_trials)
        with progress, crew:
            while not chief.is_over(crew.idle):
                _show(events, progress, crew)
                _check(chief, launch.function)
                crew.check()
                chief.hear(crew.trials)
            crew.end(_GOODBYE)
            _show(events, progress, crew)
            chief.finish()
            _check(chief, launch.function)
    return tuner.results


def join(launch: Launch, address: str) -> SilentProgress:
    """Runs workers for a search on another machine, until it is over.

    Args:
        launch: The workers.
        address: Where its chief serves, `host:port`.

    Returns:
        What this machine did, in `records`.

    Raises:
        ValueError: If the user's function fails.
        ChildProcessError: If a worker dies again and again.
        ConnectionError: If there is no chief for five minutes.
    """
    host, _, port = address.rpartition(":")
    # Unlike any other worker's, and without KerasTuner's mark of a chief.
    machine = f"{socket.gethostname()}-{os.getpid()}".replace("chief", "first")
    names = (f"{machine}-{number}" for number in itertools.count())
    with _oracle_at(host, int(port), machine):
        _wait_for_chief(host, int(port), address)
        tuner, arguments = prepare(launch.function)
        events: queue.SimpleQueue = queue.SimpleQueue()
        with display(arguments.get("verbose", "auto"), (), None) as progress:
            while True:
                # Under new names, or the chief would take a trial that it gave to
                # one of the old for one that its process died of.
                mine = list(itertools.islice(names, launch.workers))
                crew = launch.crew(tuner, mine, host, events)
                with crew, _signs_of_life(tuner.oracle, crew):
                    if _is_served(crew, host, int(port), events, progress):
                        return progress
                # A chief that comes back gives the trials out anew.
                _wait_for_chief(host, int(port), address)


def _is_served(
    crew: Crew,
    host: str,
    port: int,
    events: queue.SimpleQueue,
    progress: SilentProgress,
) -> bool:
    """Watches a crew until all is done, or its chief does not answer any more."""
    answered = looked = time.monotonic()
    while not crew.is_done:
        _show(events, progress, crew)
        crew.check()
        if time.monotonic() - looked < HEARTBEAT:
            continue
        looked = time.monotonic()
        if _answers(host, port):
            answered = looked
        elif looked - answered > _SILENCE:
            return False
    crew.end(_GOODBYE)
    _show(events, progress, crew)
    return True


@contextlib.contextmanager
def _signs_of_life(oracle: Any, crew: Crew) -> Iterator[None]:
    """Tells the chief which trials are not lost.

    Here and not in the workers, which may be at one operation of TensorFlow for
    minutes. In a thread, as a chief that is gone lets a call wait for long.
    """
    over = threading.Event()

    def tell() -> None:
        while not over.wait(HEARTBEAT):
            for trial_id in crew.trials:
                with contextlib.suppress(grpc.RpcError):  # gone, or not ours any more
                    oracle.get_trial(trial_id)

    threading.Thread(target=tell, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _show(events: queue.SimpleQueue, progress: SilentProgress, crew: Crew) -> None:
    """Shows what has happened, or waits a moment for something to happen."""
    with contextlib.suppress(queue.Empty):
        event, *values = events.get(timeout=_TICK)
        while True:
            if event != "on_end":
                getattr(progress, event)(*values)
            # The chief and the worker both tell of a record.
            elif progress.records.get(values[0].trial_id) != values[0]:
                progress.on_end(*values)
                _report_failure(values[0], crew)
            event, *values = events.get_nowait()


def _report_failure(record: TrialRecord, crew: Crew) -> None:
    if record.status not in ("FAILED", "INVALID"):
        return
    logs = [w.log for w in crew.workers if w.name == record.worker]
    where = f" (see {logs[0]})" if logs else ""
    print(f"Trial {record.trial_id} failed: {record.reason}{where}", file=sys.stderr)


def _check(chief: Chief, function: str) -> None:
    if chief.error is not None:
        with faults_of(function):
            raise chief.error


@contextlib.contextmanager
def _oracle_at(host: str, port: int, tuner_id: str) -> Iterator[None]:
    """Sets the variables by which KerasTuner finds its part in a search."""
    before = dict(os.environ)
    os.environ["KERASTUNER_ORACLE_IP"] = host
    os.environ["KERASTUNER_ORACLE_PORT"] = str(port)
    os.environ["KERASTUNER_TUNER_ID"] = tuner_id
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _free_port(host: str, port: int | None) -> int:
    """The port, if nobody serves there: gRPC would share it without a word."""
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port or 0))
        except OSError as error:
            raise OSError(
                error.errno,
                f"`host` and `port` must be an address of this machine where nobody "
                f"serves yet ({error.strerror}). Received: host={host}, port={port}",
            ) from error
        return probe.getsockname()[1]


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError:
        return False
    return True


def _wait_for_chief(host: str, port: int, address: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not _answers(host, port):
        if time.monotonic() > end:
            raise ConnectionError(
                f"`join` must be the address of a search that runs: no chief answered "
                f"for {_PATIENCE:.0f} seconds. Received: join={address}"
            )
        time.sleep(1)
