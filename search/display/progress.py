"""What a search shows while it runs: one line per trial, or nothing.

`live` has the display for terminals.
"""

import statistics
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from keras_share.search.project.record import TrialRecord
from keras_share.search.reporting.formats import format_bytes, format_seconds


@dataclass(frozen=True)
class RunningTrial:
    """How far a worker is with its trial."""

    trial_id: str
    pattern: str = ""
    epoch: int = 0
    epochs: int | None = None


class SilentProgress:
    """Shows nothing. Base of the displays; a context manager around a search.

    Args:
        records: Of earlier trials of the project.
        total: Number of trials the search may have, rejected ones not counted; None
            where nobody knows.
    """

    def __init__(self, records: tuple[TrialRecord, ...] = (), total: int | None = None):
        self.records = {record.trial_id: record for record in records}
        self.total = total
        self.running: dict[str, RunningTrial] = {}
        self.num_workers = 1

    def __enter__(self) -> "SilentProgress":
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    @property
    def done(self) -> int:
        """Number of trials that have ended; rejected ones are tried beside them."""
        return sum(one.status != "REJECTED" for one in self.records.values())

    def on_trial(self, trial_id: str, worker: str = "") -> None:
        """A trial begins, on the worker of this name where there are several."""
        if worker in self.running and self.running[worker].trial_id == trial_id:
            return  # it is told again and again
        # Replaced, never changed: a display reads it from its own thread.
        self.running = {**self.running, worker: RunningTrial(trial_id)}
        self.num_workers = max(self.num_workers, len(self.running))

    def on_pattern(self, pattern: str, worker: str = "") -> None:
        """The pattern of the running trial is known."""
        self._update(worker, pattern=pattern)

    def on_epoch(self, epoch: int, epochs: int | None, worker: str = "") -> None:
        """`epoch` of `epochs` epochs of the running trial are done."""
        self._update(worker, epoch=epoch, epochs=epochs)

    def on_end(self, record: TrialRecord) -> None:
        """A trial has ended."""
        self.records = {**self.records, record.trial_id: record}
        self.running = {
            worker: trial
            for worker, trial in self.running.items()
            if trial.trial_id != record.trial_id
        }

    def on_gone(self, worker: str) -> None:
        """A worker has ended or died."""
        self.running = {w: t for w, t in self.running.items() if w != worker}

    def seconds_left(self) -> float | None:
        """Estimate from the median of the completed trials, None without them."""
        scored = [r for r in self.records.values() if r.score is not None]
        times = [r.seconds for r in scored if r.seconds is not None]
        if self.total is None or not times:
            return None
        trials = max(self.total - self.done, 0)
        return trials * statistics.median(times) / self.num_workers

    def _update(self, worker: str, **changes: Any) -> None:
        if worker in self.running:
            changed = replace(self.running[worker], **changes)
            self.running = {**self.running, worker: changed}


class PlainProgress(SilentProgress):
    """One line per finished trial, for logs."""

    def __init__(self, records: tuple[TrialRecord, ...] = (), total: int | None = None):
        super().__init__(records, total)
        self.console = Console(soft_wrap=True)

    def on_end(self, record: TrialRecord) -> None:
        """Prints the line of the trial."""
        super().on_end(record)
        # Print as text: a pattern or message is not markup.
        self.console.print(self.line(record), markup=False, highlight=False)

    def line(self, record: TrialRecord) -> str:
        """What is said about a finished trial."""
        total = "?" if self.total is None else self.total
        parts = [f"trial {self.done}/{total}"]
        if record.patterns:
            groups = record.num_groups
            parts += [record.pattern, f"{groups} group{'s' * (groups != 1)}"]
        parts.append(format_score(record) or record.status)
        size = record.measures.get("exported_bytes")
        if size is not None:
            parts.append(format_bytes(size))
        parts.append(format_seconds(record.seconds or 0))
        left = self.seconds_left()
        if left:
            parts.append(f"about {format_seconds(left)} left")
        return "  ".join(parts)


def format_score(record: TrialRecord) -> str:
    """The objective and its value, nothing for a trial without a score."""
    return "" if record.score is None else f"{record.objective} {record.score:.4g}"
