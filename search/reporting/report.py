"""What a report says of a search: `page` makes it HTML, and `poster` a picture."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
from matplotlib.axes import Axes

from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.project.record import TrialRecord
from keras_share.search.reporting import panes
from keras_share.search.reporting.course import course
from keras_share.search.reporting.front import draw_front
from keras_share.search.reporting.importance import importance
from keras_share.search.reporting.pairs import pair_effects
from keras_share.search.reporting.summary import number, summary

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults


class Pane(NamedTuple):
    """A picture: what it is about, and what draws it into axes."""

    about: str
    draw: Callable[[Axes], object]


class Line(NamedTuple):
    """A trial in a table, with its place in it."""

    place: int
    trial_id: str
    patterns: Mapping[str, SharingPattern]
    cells: list[str]


@dataclass(frozen=True)
class Table:
    """Trials, numbered as in the pictures, some of their columns and their patterns."""

    trials: pd.DataFrame
    columns: tuple[str, ...]
    patterns: Mapping[str, Mapping[str, SharingPattern]]
    knee: str | None = None

    @property
    def titles(self) -> list[str]:
        """What stands above the cells of the lines."""
        return [name.removeprefix("hp/") for name in self.columns]

    def lines(self, count: int) -> list[Line]:
        """The first trials as people read them."""
        return [
            Line(
                place,
                row["trial_id"],
                self.patterns[row["trial_id"]],
                [number(row[name]) for name in self.columns],
            )
            for place, row in enumerate(self.trials[:count].to_dict("records"), start=1)
        ]


@dataclass(frozen=True)
class Report:
    """All that is told of a search.

    Attributes:
        title: What the search was for.
        summary: What it found, in a few words.
        fronts: Pictures of the Pareto front, one for each pair of objectives.
        front: Its trials; None if no trial has a score.
        course: Pictures of what had been found after each trial.
        matters: Pictures of what sites and hyperparameters do to the objective.
        trials: All trials, best first.
        failures: Those without a score, by their status and why they have none.
    """

    title: str
    summary: Mapping[str, str]
    fronts: list[Pane]
    front: Table | None
    course: list[Pane]
    matters: list[Pane]
    trials: Table
    failures: Mapping[tuple[str, str], list[TrialRecord]]

    @property
    def best(self) -> Table:
        """The trials in the columns of the front."""
        columns = self.front.columns if self.front else ("parameters",)
        return replace(self.trials, columns=(*columns, "seconds", "status"))


def describe(results: "SearchResults") -> Report:
    """The report of a search."""
    patterns = {record.trial_id: record.patterns for record in results.records}
    passed = course(results)
    fronts, front, drawn = [], None, []
    if passed["score"].notna().any():
        fronts, front = _fronts(results), _front(results, patterns)
        draw = partial(panes.draw_scores, course=passed, objective=results.objective)
        drawn.append(Pane("score", draw))
    if passed["volume"].notna().any():
        drawn.append(Pane("volume", partial(panes.draw_volume, course=passed)))
    return Report(
        f"Search for {results.objective}",
        summary(results),
        fronts,
        front,
        drawn,
        _matters(results),
        _trials(results, patterns),
        _failures(results.records),
    )


def _fronts(results: "SearchResults") -> list[Pane]:
    columns = results.default_columns()
    return [
        Pane("front", partial(draw_front, results, x, y, columns=columns))
        for x, y in combinations(columns, 2)
    ]


def _front(results: "SearchResults", patterns: Mapping[str, Mapping]) -> Table:
    columns = (*results.default_columns(), results.objective, "parameters")
    front, knee = results.pareto_front(), results.knee()
    return Table(front, tuple(dict.fromkeys(columns)), patterns, knee["trial_id"])


def _matters(results: "SearchResults") -> list[Pane]:
    effects, table = pair_effects(results), importance(results)
    direction = "max" if results.sign(results.objective) < 0 else "min"
    draw_pairs = partial(panes.draw_pairs, objective=results.objective)
    drawn = [
        Pane("pairs", partial(draw_pairs, pairs=pairs, direction=direction))
        for pairs in effects
    ]
    if table is not None and len(table):
        names = {pairs.name for pairs in effects}
        draw = partial(panes.draw_importance, table=table, patterns=names)
        drawn.append(Pane("importance", draw))
    return drawn


def _trials(results: "SearchResults", patterns: Mapping[str, Mapping]) -> Table:
    board = results.leaderboard()
    shown = {results.objective, "parameters", "seconds", *results.objectives}
    for record in results.records:
        shown |= {*record.measures, *(f"hp/{name}" for name in record.values)}
    columns = (*(name for name in board if name in shown), "status")
    board = board.assign(status=board["status"].str.lower())
    return Table(board, columns, patterns)


def _failures(
    records: tuple[TrialRecord, ...],
) -> Mapping[tuple[str, str], list[TrialRecord]]:
    kinds = defaultdict(list)
    for record in records:
        if record.status != "COMPLETED":
            kind = record.status.lower(), record.reason or "no message"
            kinds[kind].append(record)
    return kinds
