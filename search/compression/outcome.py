"""`Compression`: what came of a compression, as values and as reports."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from keras_share.atomic import write_atomically
from keras_share.search.compression.files import Finalist
from keras_share.search.reporting.formats import format_number
from keras_share.search.reporting.page import render_page, settings
from keras_share.search.results import SearchResults

_TITLES = {
    "exported_bytes": "bytes",
    "latency_ms": "latency, ms",
    "resident_mb": "resident, MB",
    "arena_bytes": "arena, bytes",
}


@dataclass(frozen=True)
class Compression:
    """What `compress` returns.

    Attributes:
        folder: Where `model.keras`, `model.tflite`, `report.html`, `report.md` and
            `trials.csv` are.
        winner: The file that was handed over.
        finalists: All files, the original first.
        reason: Why that file was.
        verdict: Whether sharing earned it.
        fits: Whether the winner keeps the budget.
        results: What was tried.
        metric: What files are judged by.
        judged_on: The name of the samples they are judged on, and how many there are.
    """

    folder: Path
    winner: Finalist
    finalists: Sequence[Finalist] = field(repr=False)
    reason: str
    verdict: str
    fits: bool
    results: SearchResults = field(repr=False)
    metric: str
    judged_on: str

    @property
    def table(self) -> pd.DataFrame:
        """The files, one row each: before and after."""
        rows = [
            {
                "file": one.name + (" (winner)" if one is self.winner else ""),
                self.metric: one.score.value,
                "low": one.score.low,
                "high": one.score.high,
                **one.costs,
            }
            for one in self.finalists
        ]
        return pd.DataFrame(rows)

    @property
    def shown(self) -> pd.DataFrame:
        """The table as people read it."""
        table = self.table.rename(columns=_TITLES)
        ends = zip(table[self.metric], table["low"], table["high"], strict=True)
        table[self.metric] = [f"{v:.4f} [{a:.4f}, {b:.4f}]" for v, a, b in ends]
        titles = [title for title in _TITLES.values() if title in table]
        table = table[["file", self.metric, *titles]].astype(object)
        return table.where(table.notna(), None)

    @property
    def note(self) -> str:
        """What is said below the table."""
        return (
            f"Each file was run on {self.judged_on}; brackets are 95% intervals of the "
            "bootstrap over samples. Latency (median, one thread) and resident memory "
            "are LiteRT's on this machine, the files in turns."
        )

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        return {
            "folder": str(self.folder),
            "winner": self.winner.name,
            "fits": self.fits,
            "reason": self.reason,
            "verdict": self.verdict,
            "judged_on": self.judged_on,
            "files": self.table.to_dict("records"),
        }

    def __str__(self) -> str:
        """The report as Markdown."""
        parts = [f"# {self.winner.name}", self.reason, self.verdict]
        return "\n\n".join([*parts, markdown(self.shown), self.note]) + "\n"

    def write(self) -> None:
        """Writes the reports."""
        told = str(self)
        if any(one.score is not None for one in self.results.records):
            columns = ["pattern", *self.results.default_columns(), "trial_id"]
            columns[1:1] = settings(self.results)
            front = self.results.pareto_front()[columns]
            front = front.rename(columns=lambda name: name.removeprefix("hp/"))
            told += f"\n## The front of what was tried\n\n{markdown(front)}\n"
        write_atomically(self.folder / "report.md", told)
        winner = self.folder / "model.tflite"
        page = render_page(self.results, winner, "compression.html", outcome=self)
        write_atomically(self.folder / "report.html", page)
        self.results.to_csv(self.folder / "trials.csv")


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; what has a meaning there stands for itself."""
    rows = [list(table.columns), *table.itertuples(index=False, name=None)]
    lines = [[_cell(format_number(value)) for value in row] for row in rows]
    lines.insert(1, ["---", *["---:"] * (len(table.columns) - 1)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"([\\|<`]|(?<=\])\()", r"\\\1", " ".join(text.split()))
