"""Cases tried in processes of their own, each within a time limit."""

import contextlib
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import Queue

from coverage_parts.measure import Row


def measured(names: Sequence[str], workers: int, seconds: float) -> Iterator[Row]:
    """The rows of these cases, in their order; a process does many, one by one.

    Args:
        names: Of the cases, as `families.find_case` takes them.
        workers: How many processes there are.
        seconds: After which a case is given up, and its process ended.
    """
    idle: Queue[_Worker] = Queue()
    made = [_Worker() for _ in range(workers)]
    for worker in made:
        idle.put(worker)

    def do(name: str) -> Row:
        worker = idle.get()
        try:
            return worker.do(name, seconds)
        finally:
            idle.put(worker)

    try:
        with ThreadPoolExecutor(workers) as threads:
            yield from threads.map(do, names)
    finally:
        for worker in made:
            worker.end()


class _Worker:
    """A process that tries one case after the other, replaced if it ends."""

    def __init__(self) -> None:
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection

    def do(self, name: str, seconds: float) -> Row:
        if self._process is None or not self._process.is_alive():
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        self._pipe.send(name)
        with contextlib.suppress(EOFError, ConnectionResetError):
            if self._pipe.poll(seconds):
                return self._pipe.recv()
            self.end()
            return Row(name, "", "error", "error", f"it took over {seconds:g} seconds")
        self._process.join()
        code = self._process.exitcode
        return Row(name, "", "error", "error", f"the process ended with code {code}")

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()


def _serve(pipe: Connection) -> None:
    from coverage_parts.families import find_case
    from coverage_parts.measure import measure

    while True:
        name = pipe.recv()
        pipe.send(measure(name, find_case(name)))
