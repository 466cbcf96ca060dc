"""The display for terminals: bars, the best trial and the Pareto front.

`display` chooses among all displays.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from keras_share.search.display.progress import (
    PlainProgress,
    SilentProgress,
    format_score,
)
from keras_share.search.project.record import TrialRecord, best
from keras_share.search.reporting.formats import format_bytes, format_seconds
from keras_share.search.results import SearchResults

_BAR = 20
_LINES = 6  # of the front: a display taller than the terminal is cut off


class LiveProgress(SilentProgress):
    """What is done, what runs, the best trial and the Pareto front."""

    def __init__(
        self,
        records: tuple[TrialRecord, ...] = (),
        total: int | None = None,
        console: Console | None = None,
    ):
        super().__init__(records, total)
        self._started = time.monotonic()
        self._front = tuple(_front(tuple(self.records.values())))
        self._live = Live(
            get_renderable=self.render,
            console=console,
            # A failure belongs into the file that stderr was sent to.
            redirect_stderr=sys.stderr.isatty(),
        )

    def __enter__(self) -> "LiveProgress":
        self._live.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.running = {}
        self._live.stop()

    def on_end(self, record: TrialRecord) -> None:
        """Shows the trial among those done, and the front that it may change."""
        super().on_end(record)
        self._front = tuple(_front(tuple(self.records.values())))

    def render(self) -> RenderableType:
        """The display at this moment."""
        parts: list[RenderableType] = [self._done()]
        top = best(self.records.values())
        if top is not None:
            parts.append(self._found(top))
        if self.running:
            parts += [Text(), self._running()]
        return Group(*parts)

    def _done(self) -> Table:
        table = Table.grid(padding=(0, 2))
        elapsed = timedelta(seconds=int(time.monotonic() - self._started))
        total = "?" if self.total is None else self.total
        bar = _bar(self.done, self.total)
        cells: list[RenderableType] = [
            "trials",
            bar,
            f"{self.done}/{total}",
            str(elapsed),
        ]
        left = self.seconds_left()
        if left:
            cells.append(f"about {format_seconds(left)} left")
        others = Counter(one.status.lower() for one in self.records.values())
        others.pop("completed", None)
        cells += [f"{count} {status}" for status, count in sorted(others.items())]
        table.add_row(*cells)
        return table

    def _found(self, top: TrialRecord) -> Table:
        table = Table.grid(padding=(0, 2))
        said = [top.pattern, format_score(top)]
        if "exported_bytes" in top.measures:
            said.append(format_bytes(top.measures["exported_bytes"]))
        table.add_row("best", *_texts(said))
        names = ["front"] + [""] * len(self._front)
        for name, cells in zip(names, self._front, strict=False):
            table.add_row(name, *_texts(cells))
        return table

    def _running(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for worker, trial in sorted(self.running.items()):
            table.add_row(
                Text(worker or "running"),
                f"trial {trial.trial_id}",
                Text(trial.pattern, no_wrap=True, overflow="ellipsis"),
                _bar(trial.epoch, trial.epochs),
                f"{trial.epoch}/{trial.epochs} epochs" if trial.epochs else "",
            )
        return table


def display(
    verbose: str | int | SilentProgress,
    records: tuple[TrialRecord, ...],
    total: int | None,
) -> SilentProgress:
    """The display for `search(verbose=...)`.

    `"auto"` and 1 mean bars on a terminal and lines elsewhere (bars in a log file or a
    notebook leave a mess), 2 lines, 0 nothing. A display stands for itself.
    """
    if isinstance(verbose, SilentProgress):
        return verbose
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(
            "`verbose` must be 'auto', 0 (silent), 1 (bars on a terminal, else lines) "
            f"or 2 (one line per trial). Received: verbose={verbose!r}"
        )
    if verbose == 0:
        return SilentProgress(records, total)
    if verbose == 2 or not Console().is_terminal:
        return PlainProgress(records, total)
    return LiveProgress(records, total)


def _front(records: tuple[TrialRecord, ...]) -> Iterator[list[str]]:
    """What is said of some trials on the front, spread evenly."""
    scored = tuple(record for record in records if record.score is not None)
    if not scored:
        return
    results = SearchResults(scored, scored[-1].objectives)
    *others, main = results.default_columns()
    try:
        front = results.pareto_front(*others, main)
    except ValueError:  # no trial has all of them
        return
    shown = np.linspace(0, len(front) - 1, min(_LINES, len(front)))
    for _, row in front.iloc[shown.round().astype(int)].iterrows():
        yield [
            row["pattern"],
            f"{row[main]:.4g}",
            *(_format(name, row[name]) for name in others),
        ]


def _format(column: str, value: float) -> str:
    if column.endswith("bytes"):
        return format_bytes(value)
    return f"{column} {value:.4g}"


def _texts(cells: list[str]) -> list[Text]:
    # No strings, in which a pattern could be taken for markup.
    return [Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells]


def _bar(done: int, total: int | None) -> ProgressBar:
    # Without a total it would pulse; a trial that has yet to begin does not.
    return ProgressBar(total=total or max(done, 1), completed=done, width=_BAR)
