"""What a search shows while it runs: live bars, or one line per trial."""

import sys
from typing import Any

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from .rows import Row


class SilentProgress:
    """Shows nothing. Base of the displays; a context manager around a search.

    Args:
        rows: The rows of earlier trials of the project.
        total: Number of trials the search may have, None where nobody knows.
    """

    def __init__(self, rows: tuple[Row, ...] = (), total: int | None = None):
        self.rows = {row["trial_id"]: row for row in rows}
        self.total = total

    def __enter__(self) -> "SilentProgress":
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def on_trial(self, trial_id: str) -> None:
        """A trial begins."""

    def on_pattern(self, pattern: str) -> None:
        """The pattern of the running trial is known."""

    def on_epoch(self, epoch: int, epochs: int | None) -> None:
        """`epoch` of `epochs` epochs of the running trial are done."""

    def on_row(self, row: Row) -> None:
        """A trial has ended."""
        self.rows[row["trial_id"]] = row

    def seconds_left(self) -> float | None:
        """Estimate from the mean of the completed trials, None without them."""
        times = [r["seconds"] for r in self.rows.values() if r["score"] is not None]
        if self.total is None or not times:
            return None
        return max(self.total - len(self.rows), 0) * sum(times) / len(times)

    def best(self) -> Row | None:
        """The row with the best score."""
        scored = [row for row in self.rows.values() if row["score"] is not None]
        if not scored:
            return None
        pick = max if scored[0]["direction"] == "max" else min
        return pick(scored, key=lambda row: row["score"])


class PlainProgress(SilentProgress):
    """One line per finished trial, for logs."""

    def __init__(self, rows: tuple[Row, ...] = (), total: int | None = None):
        super().__init__(rows, total)
        self.console = Console(soft_wrap=True)

    def on_row(self, row: Row) -> None:
        """Prints the line of the trial."""
        super().on_row(row)
        # Print as text: a pattern or message is not markup.
        self.console.print(self.line(row), markup=False, highlight=False)

    def line(self, row: Row) -> str:
        """What is said about a finished trial."""
        total = "?" if self.total is None else self.total
        parts = [f"trial {len(self.rows)}/{total}"]
        if row["pattern"]:
            groups = row["num_groups"]
            parts += [row["pattern"], f"{groups} group{'s' * (groups != 1)}"]
        parts.append(format_score(row) or row["status"])
        size = row["measures"].get("exported_bytes")
        if size is not None:
            parts.append(format_bytes(size))
        parts.append(format_seconds(row["seconds"]))
        left = self.seconds_left()
        if left:
            parts.append(f"about {format_seconds(left)} left")
        return "  ".join(parts)


class LiveProgress(SilentProgress):
    """A bar for the trials and a bar for the epochs of the running one."""

    def __init__(
        self,
        rows: tuple[Row, ...] = (),
        total: int | None = None,
        console: Console | None = None,
    ):
        super().__init__(rows, total)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            # A failure belongs into the file that stderr was sent to.
            redirect_stderr=sys.stderr.isatty(),
        )
        self._trials = self._bars.add_task("trials", total=total, note="")
        self._epochs = self._bars.add_task("epochs", total=None, note="")
        self._show()

    def __enter__(self) -> "LiveProgress":
        self._bars.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bars.stop()

    def on_trial(self, trial_id: str) -> None:
        """Starts the bar of the epochs anew."""
        self._bars.reset(self._epochs, total=None, note=f"trial {trial_id}")

    def on_pattern(self, pattern: str) -> None:
        """Names the pattern beside the epochs."""
        self._bars.update(self._epochs, note=pattern)

    def on_epoch(self, epoch: int, epochs: int | None) -> None:
        """Moves the bar of the epochs."""
        self._bars.update(self._epochs, completed=epoch, total=epochs)

    def on_row(self, row: Row) -> None:
        """Moves the bar of the trials."""
        super().on_row(row)
        self._show()

    def _show(self) -> None:
        best, left = self.best(), self.seconds_left()
        notes = []
        if best is not None:
            notes.append(f"best {format_score(best)} {best['pattern']}".rstrip())
        if left:
            notes.append(f"about {format_seconds(left)} left")
        self._bars.update(self._trials, completed=len(self.rows), note="  ".join(notes))


class EpochCallback(keras.callbacks.Callback):
    """Tells a display which epoch a model is in."""

    def __init__(self, progress: SilentProgress):
        super().__init__()
        self.progress = progress

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts at none of the epochs."""
        self.progress.on_epoch(0, self.params.get("epochs"))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Counts the epoch."""
        self.progress.on_epoch(epoch + 1, self.params.get("epochs"))


def display(
    verbose: str | int, rows: tuple[Row, ...], total: int | None
) -> SilentProgress:
    """The display for `search(verbose=...)`.

    `"auto"` and 1 mean bars on a terminal and lines elsewhere (bars in a log file or a
    notebook leave a mess), 2 lines, 0 nothing.
    """
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(
            "`verbose` must be 'auto', 0 (silent), 1 (bars on a terminal, else lines) "
            f"or 2 (one line per trial). Received: verbose={verbose!r}"
        )
    if verbose == 0:
        return SilentProgress(rows, total)
    if verbose == 2 or not Console().is_terminal:
        return PlainProgress(rows, total)
    return LiveProgress(rows, total)


def format_score(row: Row) -> str:
    """The objective and its value, nothing for a trial without a score."""
    return "" if row["score"] is None else f"{row['objective']} {row['score']:.4g}"


def format_bytes(size: float) -> str:
    """Bytes in units of 1024, as flash is sold."""
    return f"{size / 1024:.1f} KB" if size < 1024**2 else f"{size / 1024**2:.2f} MB"


def format_seconds(seconds: float) -> str:
    """Seconds, or minutes or hours where these read better."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
