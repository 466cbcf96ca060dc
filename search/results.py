"""`SearchResults`: what a search found, as tables."""

import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from keras_share.files import write_atomically

from . import rows
from .rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class SearchResults:
    """The results of a search: one row per trial, failed ones included.

    Args:
        rows: One dictionary per trial, as `keras_share.search` writes them.
        objective: Name of the metric the search optimized.
        direction: `"max"` or `"min"`, whichever is better for the objective.

    Example:
    ```python
    results = tuner.results  # or SearchResults.load("my_dir/my_project")
    results.leaderboard().head()
    results.pareto_front()[["pattern", "exported_bytes", "val_accuracy"]]
    results.plot_pareto("pareto.png")
    ```
    """

    rows: tuple[Row, ...] = field(repr=False)
    objective: str
    direction: str

    def __post_init__(self):
        if self.direction not in ("min", "max"):
            raise ValueError(
                "`direction` must be 'min' or 'max'. "
                f"Received: direction={self.direction!r}"
            )

    @classmethod
    def load(cls, project_dir: str | os.PathLike) -> "SearchResults":
        """Reads the results of a project from disk, without a tuner.

        Args:
            project_dir: The tuner's `directory` joined with its `project_name`.

        Raises:
            FileNotFoundError: If no trial has left results there.
        """
        found = rows.read(project_dir)
        if not found:
            raise FileNotFoundError(
                "`project_dir` must be the folder of a search (the tuner's `directory` "
                "joined with its `project_name`) in which at least one trial has "
                f"ended. Received: {str(project_dir)!r} without files in "
                f"{str(rows.folder(project_dir))!r}"
            )
        return cls(found, found[0]["objective"], found[0]["direction"])

    def __len__(self) -> int:
        return len(self.rows)

    def leaderboard(self) -> pd.DataFrame:
        """All trials, best first.

        Returns:
            A DataFrame with the columns `pattern`, `num_groups` (the sum over the
            patterns of a model that has several), `parameters`, the objective, what
            was measured (`exported_bytes`), `seconds` (of the whole trial), `status`,
            `trial_id`, the other metrics at the best epoch, each hyperparameter as
            `hp/<name>`, and `message`. Trials without a score come last. What a trial
            does not have is missing (NaN or NA).
        """
        ranked = self._ranked()
        columns = [
            *("pattern", "num_groups", "parameters", self.objective),
            *("exported_bytes", *_names(row["measures"] for row in ranked)),
            *("seconds", "status", "trial_id"),
            *_names(row["metrics"] for row in ranked),
            *(f"hp/{name}" for name in _names(r["hyperparameters"] for r in ranked)),
            "message",
        ]
        cells = [self._cells(row) for row in ranked]
        # By name: the objective is also a metric, and `exported_bytes` a measure.
        return pd.DataFrame(
            {name: _column([row.get(name) for row in cells]) for name in columns}
        )

    def pareto_front(
        self, x: str = "exported_bytes", y: str | None = None
    ) -> pd.DataFrame:
        """The completed trials that no other one beats in `x` and `y` at once.

        A trial is left out if another is at least as good in both and better in one.
        Of trials equal in both only the first of the search stays, so both columns
        rise or fall strictly along the front.

        Args:
            x: A column of the leaderboard.
            y: Another one; defaults to the objective. In metrics the better direction
                is KerasTuner's (`"max"` for accuracy), elsewhere less is better.

        Returns:
            Rows of the leaderboard, sorted by `x`, smallest first.

        Raises:
            ValueError: If a column is unknown, or has no value in any completed trial.

        Example:
        ```python
        front = tuner.pareto_front()
        small = tuner.pareto_front(x="parameters", y="val_loss")
        ```
        """
        y = self.objective if y is None else y
        table = self._completed(x, y)
        order = {row["trial_id"]: place for place, row in enumerate(self.rows)}
        # Signed so that less is better.
        signs = [-1 if self._direction_of(name) == "max" else 1 for name in (x, y)]
        keys = pd.DataFrame(
            {
                "x": table[x].astype(float) * signs[0],
                "y": table[y].astype(float) * signs[1],
                "order": table["trial_id"].map(order),
            }
        ).sort_values(["x", "y", "order"])
        # From good to bad x, a trial must improve y upon all before it.
        best_before = keys["y"].cummin().shift(fill_value=float("inf"))
        kept = keys.index[keys["y"] < best_before]
        return table.loc[kept].sort_values(x).reset_index(drop=True)

    def plot_pareto(
        self,
        path: str | os.PathLike | None = None,
        ax: "Axes | None" = None,
        x: str = "exported_bytes",
        y: str | None = None,
    ) -> "Axes":
        """Draws the completed trials and the Pareto front.

        Args:
            path: Optional file to write, PNG or what its suffix says.
            ax: Optional matplotlib axes to draw into; by default a new figure, which
                needs no display.
            x: Column for the horizontal axis.
            y: Column for the vertical axis; defaults to the objective.

        Returns:
            The matplotlib axes; its `figure` can be styled and saved further.
        """
        from .plot import draw_pareto

        y = self.objective if y is None else y
        ax = draw_pareto(self._completed(x, y), self.pareto_front(x, y), x, y, ax)
        if path is not None:
            image = io.BytesIO()
            ax.figure.savefig(image, format=Path(path).suffix[1:] or "png")
            write_atomically(path, image.getvalue())
        return ax

    def to_csv(self, path: str | os.PathLike) -> None:
        """Writes the leaderboard as a CSV file, whole or not at all."""
        write_atomically(path, self.leaderboard().to_csv(index=False).encode())

    def _ranked(self) -> list[Row]:
        scored = [row for row in self.rows if row["score"] is not None]
        scored.sort(key=lambda row: row["score"], reverse=self.direction == "max")
        return scored + [row for row in self.rows if row["score"] is None]

    def _cells(self, row: Row) -> dict[str, Any]:
        message = row["message"]
        return {
            **{name: metric["value"] for name, metric in row["metrics"].items()},
            **{f"hp/{name}": v for name, v in row["hyperparameters"].items()},
            **row["measures"],
            **{name: row[name] for name in ("pattern", "num_groups", "parameters")},
            **{name: row[name] for name in ("seconds", "status", "trial_id")},
            self.objective: row["score"],
            # The row has the whole traceback; its last line names the error.
            "message": message and message.strip().splitlines()[-1],
        }

    def _completed(self, *names: str) -> pd.DataFrame:
        """The part of the leaderboard that has a value in each column."""
        table = self.leaderboard()
        table = table[table[self.objective].notna()]
        for name in names:
            if name not in table or table[name].isna().all():
                known = [c for c in table if pd.api.types.is_numeric_dtype(table[c])]
                raise ValueError(
                    "`x` and `y` must be columns that have a value in at least one "
                    f"completed trial. Received: {name!r}, with {len(table)} completed "
                    f"trials. Columns with numbers: {', '.join(known) or 'none'}. "
                    "('exported_bytes' needs a tuner with `export`.)"
                )
        return table.dropna(subset=list(names))

    def _direction_of(self, name: str) -> str:
        if name == self.objective:
            return self.direction
        metrics = (row["metrics"][name] for row in self.rows if name in row["metrics"])
        return next((metric["direction"] for metric in metrics), "min")


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """The keys of all mappings, each once, in order of appearance."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _column(values: list) -> pd.Series:
    """A column in which counts stay integers where failed trials leave gaps."""
    present = [value for value in values if value is not None]
    whole = present and all(type(value) is int for value in present)
    return pd.Series(values, dtype="Int64" if whole else None)
