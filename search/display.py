"""What a search shows while it runs: a line per trial, and bars on a terminal."""

import math
import statistics
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from keras_share.search.project.record import TrialRecord
from keras_share.search.reporting.formats import format_bytes, format_seconds


class Display:
    """A line for each trial that ends, and on a terminal a bar for each that runs.

    A context manager around a search. Bars in a log file or a notebook leave a mess, so
    they are for terminals only. `verbose` is that of `SharingSearch.search`, `records`
    are those of earlier trials, and `total` is how many there may be, if that is known.
    """

    def __init__(
        self,
        objectives: Mapping[str, str],
        verbose: Any = 0,
        records: tuple[TrialRecord, ...] = (),
        total: int | None = None,
        console: Console | None = None,
    ):
        if verbose not in ("auto", 0, 1, 2):
            raise ValueError(
                "`verbose` must be 'auto', 0 (silent), 1 (bars on a terminal) or 2 "
                f"(one line per trial). Received: verbose={verbose!r}"
            )
        self.records: dict[str, TrialRecord] = {}
        self.total = total
        self.done = 0  # rejected ones are tried beside them
        self._objective, direction = next(iter(objectives.items()))
        self._sign = -1 if direction == "max" else 1
        self._best: TrialRecord | None = None
        self._least = math.inf
        self._console = console or Console(soft_wrap=True)
        self._is_silent = verbose == 0
        has_bars = verbose in ("auto", 1) and self._console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(20),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not has_bars,
            # A failure belongs into the file that stderr was sent to.
            redirect_stderr=sys.stderr.isatty(),
        )
        self._search = self._bars.add_task("trials", total=total, count="")
        self._running: dict[str, Any] = {}
        self._most_running = 1
        for record in records:
            self._take(record)

    def __enter__(self) -> "Display":
        self._bars.start()
        return self

    def __exit__(self, *error: Any) -> None:
        for worker in list(self._running):
            self.rests(worker)
        self._bars.stop()

    @property
    def running(self) -> set[str]:
        """The names of the workers that run a trial."""
        return set(self._running)

    def runs(
        self, text: str, epoch: int = 0, epochs: int | None = None, worker: str = ""
    ) -> None:
        """`epoch` of `epochs` epochs of a trial are done, by a worker of this name."""
        if worker not in self._running:
            self._running[worker] = self._bars.add_task(text, total=None, count="")
            self._most_running = max(self._most_running, len(self._running))
        self._bars.update(
            self._running[worker],
            description=f"{worker}  {text}".strip(),
            completed=epoch,
            total=epochs or 1,
            count=f"{epoch}/{epochs} epochs" if epochs else "",
        )

    def rests(self, worker: str = "") -> None:
        """A worker runs no trial any more."""
        if worker in self._running:
            self._bars.remove_task(self._running.pop(worker))

    def ended(self, record: TrialRecord) -> None:
        """A trial has ended; a failure is told on stderr in any case."""
        if record.status == "FAILED":
            where = f" (on {record.worker})" if record.worker else ""
            print(
                f"Trial {record.trial_id} failed: {record.reason}{where}\n"
                f"  pattern: {record.pattern or 'unknown'}\n"
                f"  hyperparameters: {record.hyperparameters}",
                file=sys.stderr,
            )
        self._take(record)
        if not self._is_silent:
            seconds = format_seconds(record.seconds or 0)
            parts = [f"trial {self._count()}", *self._words(record), seconds]
            left = self.seconds_left()
            if left:
                parts.append(f"about {format_seconds(left)} left")
            # Print as text: a pattern or message is not markup.
            self._console.print("  ".join(parts), markup=False, highlight=False)

    def seconds_left(self) -> float | None:
        """Estimate from the median of the completed trials, None without them."""
        scored = [r for r in self.records.values() if r.score is not None]
        times = [r.seconds for r in scored if r.seconds is not None]
        if self.total is None or not times:
            return None
        trials = max(self.total - self.done, 0)
        return trials * statistics.median(times) / self._most_running

    def _take(self, record: TrialRecord) -> None:
        self.records[record.trial_id] = record
        self.done += record.status != "REJECTED"
        score = math.inf if record.score is None else self._sign * record.score
        if score < self._least:
            self._best, self._least = record, score
        said = "  ".join(["best", *self._words(self._best)]) if self._best else "trials"
        self._bars.update(
            self._search, description=said, completed=self.done, count=self._count()
        )

    def _count(self) -> str:
        return f"{self.done}/{'?' if self.total is None else self.total}"

    def _words(self, record: TrialRecord) -> list[str]:
        """The pattern, the score and the size of a trial."""
        groups, score = record.num_groups, record.score
        words = [record.status if score is None else f"{self._objective} {score:.4g}"]
        if groups:
            words = [record.pattern, f"{groups} group{'s' * (groups != 1)}", *words]
        size = record.measures.get("exported_bytes")
        return words if size is None else [*words, format_bytes(size)]
