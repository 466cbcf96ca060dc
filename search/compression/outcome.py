"""`Compression`: what came of a compression, as values and as reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from keras_share.atomic import write_atomically
from keras_share.search.compression.files import Finalist
from keras_share.search.reporting.formats import format_number
from keras_share.search.reporting.page import render_page, settings
from keras_share.search.results import SearchResults


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
        lines = [
            f"# {self.winner.name}",
            "",
            self.reason,
            "",
            self.verdict,
            "",
            *markdown(pd.DataFrame(self.cells())),
            "",
            f"Each file was run on {self.judged_on}; brackets are 95% intervals of the "
            "bootstrap over samples. Latency (median, one thread) and resident memory "
            "are LiteRT's on this machine, the files in turns.",
        ]
        return "\n".join(lines) + "\n"

    def write(self) -> None:
        """Writes the reports."""
        front = self.results.pareto_front() if self._has_scores else None
        told = str(self)
        if front is not None:
            columns = ["pattern", *self.results.default_columns(), "trial_id"]
            columns[1:1] = settings(self.results)
            told += "\n## The front of what was tried\n\n"
            front = front[columns].rename(columns=lambda name: name.removeprefix("hp/"))
            told += "\n".join(markdown(front)) + "\n"
        write_atomically(self.folder / "report.md", told.encode())
        page = render_page(
            self.results,
            self.folder / "model.tflite",
            template="compression.html",
            outcome=self,
            cells=self.cells(),
        )
        write_atomically(self.folder / "report.html", page.encode())
        self.results.to_csv(self.folder / "trials.csv")

    def cells(self) -> list[dict[str, str]]:
        """The table as people read it."""
        titles: Mapping[str, str] = {
            "exported_bytes": "bytes",
            "latency_ms": "latency, ms",
            "resident_mb": "resident, MB",
            "arena_bytes": "arena, bytes",
        }
        found = []
        for row in self.table.to_dict("records"):
            cells = {"file": row["file"]}
            cells[self.metric] = (
                f"{row[self.metric]:.4f} [{row['low']:.4f}, {row['high']:.4f}]"
            )
            for name, title in titles.items():
                if name in row:
                    value = row[name]
                    known = value == value  # noqa: PLR0124 (NaN where it has none)
                    cells[title] = format_number(float(value)) if known else "-"
            found.append(cells)
        return found

    @property
    def _has_scores(self) -> bool:
        return any(one.score is not None for one in self.results.records)


def markdown(table: pd.DataFrame) -> list[str]:
    """The lines of a table."""
    lines = [list(table.columns), ["---", *["---:"] * (len(table.columns) - 1)]]
    for row in table.to_dict("records"):
        values = row.values()
        lines.append([v if isinstance(v, str) else format_number(v) for v in values])
    return [f"| {' | '.join(line)} |" for line in lines]
