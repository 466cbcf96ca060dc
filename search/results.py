"""`SearchResults`: what a search found, as tables."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras_tuner as kt
import numpy as np
import optuna
import pandas as pd

from keras_share import figures
from keras_share.atomic import write_atomically
from keras_share.search import pareto
from keras_share.search.project.leaderboard import averaged, leaderboard
from keras_share.search.project.record import TrialRecord, record_of
from keras_share.search.project.stock import records_of_tuner
from keras_share.search.project.study import Project
from keras_share.search.trial.objectives import direction, objectives_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class SearchResults:
    """The results of a search: one record per trial, failed ones included.

    Args:
        records: One `TrialRecord` per trial.
        objectives: The direction (`"max"` or `"min"`) of each objective by name, the
            main one first.

    Example:
    ```python
    results = tuner.results  # or SearchResults.load("my_dir/my_project")
    results.leaderboard().head()
    results.pareto_front()[["pattern", "exported_bytes", "val_accuracy"]]
    results.to_html("report.html")
    ```
    """

    records: tuple[TrialRecord, ...] = field(repr=False)
    objectives: Mapping[str, str]

    def __post_init__(self):
        if not self.objectives or set(self.objectives.values()) - {"min", "max"}:
            raise ValueError(
                "`objectives` must have 'min' or 'max' for each of at least one name. "
                f"Received: objectives={self.objectives!r}"
            )

    @classmethod
    def load(
        cls, project_dir: str | os.PathLike, storage: Any = None
    ) -> "SearchResults":
        """Reads the results of a search, without a tuner.

        Args:
            project_dir: The tuner's `directory` joined with its `project_name`.
            storage: The `storage` of the tuner.

        Raises:
            FileNotFoundError: If there is no search, or no trial has ended.
        """
        project = Project(project_dir, storage)
        records = project.records()
        if not records:
            raise FileNotFoundError(
                "A search must have a trial that has ended. Received: "
                f"{os.fspath(project_dir)!r} without one"
            )
        return cls(records, project.objectives)

    @classmethod
    def of(cls, search: Any) -> "SearchResults":
        """The results of a tuner of KerasTuner's own, or of a study of Optuna's.

        Raises:
            TypeError: If it is something else.

        Example:
        ```python
        tuner = keras_tuner.Hyperband(build, "val_accuracy", directory="runs")
        tuner.search(x, y, validation_split=0.2)
        SearchResults.of(tuner).to_html("report.html")
        ```
        """
        if isinstance(search, kt.Tuner):
            own = getattr(search, "results", None)
            return own if isinstance(own, cls) else cls(*records_of_tuner(search))
        if isinstance(search, optuna.Study):
            objectives = objectives_of(search)
            ended = [t for t in search.trials if t.state.is_finished()]
            return cls(tuple(record_of(t, objectives) for t in ended), objectives)
        raise TypeError(
            "`search` must be a tuner of KerasTuner or a study of Optuna. Received: an "
            f"object of type {type(search).__name__}"
        )

    def __len__(self) -> int:
        return len(self.records)

    @property
    def objective(self) -> str:
        """The main objective, by which trials are ranked."""
        return next(iter(self.objectives))

    @property
    def direction(self) -> str:
        """`"max"` or `"min"`, whichever is better for the main objective."""
        return self.objectives[self.objective]

    def leaderboard(self, average: bool = False) -> pd.DataFrame:
        """All trials, best first.

        Args:
            average: Whether trials with equal hyperparameters, which a search repeats
                where the scores are noisy, are one row with the mean of each number.
                That row has their count as `trials`, and the `trial_id` of the best.
                Trials without a score are left out then.

        Returns:
            A DataFrame with the columns `pattern`, `num_groups` (the sum over the
            patterns of a model that has several), `parameters`, the objective, what
            was measured (`exported_bytes`), `seconds` (of the whole trial), `status`,
            `trial_id`, the other metrics at the best epoch, each hyperparameter as
            `hp/<name>`, and `message`. Trials without a score come last. What a trial
            does not have is missing (NaN or NA).
        """
        return (self._averaged if average else self._board).copy()

    @cached_property
    def _board(self) -> pd.DataFrame:
        return leaderboard(self.records, self.objective, self.direction)

    @cached_property
    def _averaged(self) -> pd.DataFrame:
        return averaged(self._board, self.records, self.objective, self.direction)

    def pareto_front(self, *columns: str) -> pd.DataFrame:
        """The trials that no other one beats in all columns at once.

        A trial is left out if another is at least as good in each column and better in
        one; of trials equal in all of them only the first of the search stays. Trials
        that repeat a choice of hyperparameters count as one, with their means. What
        failed, was rejected or stopped early is not of the front.

        Args:
            *columns: Columns of the leaderboard, any number of them. By default the
                objectives of the search, the main one last; if it has only one,
                `exported_bytes` (or `parameters`, or `num_groups`) and that.
                The better direction is the search's for objectives, KerasTuner's for
                other metrics (`"max"` for accuracy); elsewhere less is better.

        Returns:
            Rows of `leaderboard(average=True)`, sorted by the first column, smallest
            first.

        Raises:
            ValueError: If a column is unknown, or has no value in any completed trial.
        """
        columns = columns or self.default_columns()
        table = self.completed(*columns)
        front = table[pareto.non_dominated(self.points(table, columns))]
        return front.sort_values(list(columns)).reset_index(drop=True)

    def knee(self, *columns: str) -> pd.Series:
        """The trial of the front at which each further gain begins to cost much.

        See `keras_share.search.pareto.knee` for what that means, and `pareto_front` for
        columns and errors. The name of the row is its place in the front.
        """
        columns = columns or self.default_columns()
        front = self.pareto_front(*columns)
        return front.iloc[pareto.knee(self.points(front, columns))]

    def hypervolume(
        self, *columns: str, reference: Mapping[str, float] | None = None
    ) -> float:
        """The volume that the front dominates: of two searches the larger is better.

        Args:
            *columns: As for `pareto_front`.
            reference: The worst value that counts in each column, by name, such as
                `{"exported_bytes": 300_000, "val_accuracy": 0.5}`. Columns without one
                take the worst of all completed trials: then volumes of two searches
                can't be compared.

        Returns:
            The volume, in the product of the units of the columns.

        Raises:
            ValueError: If there is no front, or `reference` names another column.
        """
        columns = columns or self.default_columns()
        reference = dict(reference or {})
        if not reference.keys() <= set(columns):
            raise ValueError(
                f"`reference` must name columns of the volume ({', '.join(columns)}). "
                f"Received: reference={reference}"
            )
        points = self.points(self.completed(*columns), columns)
        points = points[np.isfinite(points).all(axis=1)]
        if not len(points):
            return 0.0
        corner = points.max(axis=0)
        for i, name in enumerate(columns):
            if name in reference:
                corner[i] = self.sign(name) * reference[name]
        return pareto.hypervolume(points, corner)

    def default_columns(self) -> tuple[str, ...]:
        """The columns of `pareto_front` where none are named."""
        if len(self.objectives) > 1:
            main, *others = self.objectives
            return (*others, main)
        known = {name for record in self.records for name in record.numbers}
        sizes = ("exported_bytes", "parameters")
        return (next((n for n in sizes if n in known), "num_groups"), self.objective)

    def completed(self, *columns: str) -> pd.DataFrame:
        """The averaged trials that have a value in each column, first trial first."""
        table = self.leaderboard(average=True)
        for name in columns:
            if name not in table or table[name].isna().all():
                known = [c for c in table if pd.api.types.is_numeric_dtype(table[c])]
                raise ValueError(
                    "`columns` must be names of columns that have a value in at least "
                    f"one completed trial. Received: {name!r}, with {len(table)} "
                    "completed trials. Columns with numbers: "
                    f"{', '.join(known) or 'none'}. "
                    "('exported_bytes' needs a tuner with `export`.)"
                )
        order = {one.trial_id: place for place, one in enumerate(self.records)}
        return table.dropna(subset=list(columns)).sort_values(
            "trial_id", key=lambda ids: ids.map(order)
        )

    def sign(self, name: str) -> int:
        """1 if less is better in a column of the leaderboard, -1 if more is."""
        found = self.objectives.get(name, "min")
        if any(name in record.metrics for record in self.records):
            found = direction(name, self.objectives)
        return -1 if found == "max" else 1

    def plot_pareto(
        self,
        to_file: str | os.PathLike | None = None,
        ax: "Axes | None" = None,
        columns: tuple[str, str] | None = None,
    ) -> "Axes":
        """Draws the completed trials and the Pareto front, with its patterns.

        Args:
            to_file: Optional file to write, which ends in `.png`, `.svg` or `.pdf`.
            ax: Optional matplotlib axes to draw into; by default a new figure, which
                needs no display.
            columns: The columns of the horizontal and the vertical axis; by default
                the last two of `pareto_front`.

        Returns:
            The matplotlib axes; its `figure` can be styled and saved further.
        """
        from keras_share.search.reporting.front import draw_front

        figures.check_picture(to_file)
        x, y = columns or self.default_columns()[-2:]
        ax = draw_front(self, x, y, ax=ax)
        figures.save(ax.figure.canvas.figure, to_file)
        return ax

    def to_html(
        self, path: str | os.PathLike, winner: str | os.PathLike | None = None
    ) -> None:
        """Writes a report for people: one HTML file that needs nothing beside it.

        It has the Pareto front with the pattern of each point drawn, which sites like
        to share, what each hyperparameter matters, the course of the search, the best
        trials, and the failures.

        Args:
            path: Where to write it, whole or not at all.
            winner: Optional .tflite file made from the best trial: its audit is added.
        """
        from keras_share.search.reporting.page import render_page

        write_atomically(path, render_page(self, winner))

    def to_csv(self, path: str | os.PathLike) -> None:
        """Writes the leaderboard as a CSV file, whole or not at all."""
        write_atomically(path, self.leaderboard().to_csv(index=False))

    def points(self, table: pd.DataFrame, columns: Iterable[str]) -> np.ndarray:
        """Columns of a table as floats of which less is better, missing ones NaN."""
        return np.stack(
            [
                self.sign(name) * table[name].to_numpy(float, na_value=np.nan)
                for name in columns
            ],
            axis=1,
        )
