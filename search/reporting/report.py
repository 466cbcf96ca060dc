"""What a report says of a search: `page` makes it HTML, and `poster` a picture."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

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
from keras_share.search.reporting.trials import MIN_TRIALS

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

_TOO_FEW = (
    "Which sites like to share, and what each hyperparameter matters, can only be "
    f"estimated from {MIN_TRIALS} completed trials or more, with different scores."
)
_ABOUT_PAIRS = (
    "An effect is by how much the objective differs where two sites share from where "
    "they do not, all else equal: a ridge regression on all pairs, the number of "
    "groups and the other hyperparameters. Effects of pairs that few trials tell "
    "apart are drawn toward zero."
)
_ABOUT_IMPORTANCE = (
    "How much worse boosted trees predict unseen trials when the values of one "
    "hyperparameter are shuffled among them (permutation importance); a pattern is "
    "shuffled as a whole."
)


@dataclass(frozen=True)
class Pane:
    """A picture: what it is about, and who draws it into axes."""

    about: str
    draw: Callable[[Axes], object]


@dataclass(frozen=True)
class Line:
    """A trial in a table, with its place in it."""

    place: int
    trial_id: str
    patterns: Mapping[str, SharingPattern]
    cells: list[str]
    is_knee: bool


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

    @property
    def lines(self) -> list[Line]:
        """The trials as people read them."""
        return [
            Line(
                place,
                row["trial_id"],
                self.patterns[row["trial_id"]],
                [number(row[name]) for name in self.columns],
                row["trial_id"] == self.knee,
            )
            for place, row in enumerate(self.trials.to_dict("records"), start=1)
        ]

    def cut(self, rows: int, columns: tuple[str, ...] | None = None) -> "Table":
        """The first of the trials, in some of the columns."""
        return replace(self, trials=self.trials[:rows], columns=columns or self.columns)


@dataclass(frozen=True)
class Section:
    """A part of the report."""

    heading: str
    panes: tuple[Pane, ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """All that is told of a search."""

    title: str
    summary: Mapping[str, str]
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Failure:
    """Trials without a score that ended alike."""

    status: str
    reason: str
    records: list[TrialRecord]


def describe(results: "SearchResults") -> Report:
    """The report of a search."""
    patterns = {record.trial_id: record.patterns for record in results.records}
    passed = course(results)
    sections = [_matters(results), _trials(results, patterns)]
    if passed["score"].notna().any():
        sections = [_front(results, patterns), _course(results, passed), *sections]
    return Report(f"Search for {results.objective}", summary(results), tuple(sections))


def failures(results: "SearchResults") -> list[Failure]:
    """The trials without a score, by how they ended."""
    kinds = defaultdict(list)
    for record in results.records:
        if record.status != "COMPLETED":
            kind = record.status.lower(), record.reason or "no message"
            kinds[kind].append(record)
    return [Failure(*kind, records) for kind, records in kinds.items()]


def _front(results: "SearchResults", patterns: Mapping[str, Mapping]) -> Section:
    columns = results.default_columns()
    shown = tuple(dict.fromkeys((*columns, results.objective, "parameters")))
    drawn = tuple(
        Pane("front", partial(draw_front, results, x, y, columns=columns))
        for x, y in combinations(columns, 2)
    )
    knee = results.knee()["trial_id"]
    table = Table(results.pareto_front(), shown, patterns, knee)
    return Section("Pareto front", drawn, table, ("The knee is marked.",))


def _course(results: "SearchResults", passed: pd.DataFrame) -> Section:
    scores = partial(panes.draw_scores, course=passed, objective=results.objective)
    drawn = [Pane("score", scores)]
    if passed["volume"].notna().any():
        drawn.append(Pane("volume", partial(panes.draw_volume, course=passed)))
    return Section("Course", tuple(drawn))


def _matters(results: "SearchResults") -> Section:
    effects, table = pair_effects(results), importance(results)
    about = {
        "objective": results.objective,
        "direction": "max" if results.sign(results.objective) < 0 else "min",
    }
    drawn = [
        Pane("pairs", partial(panes.draw_pairs, pairs=pairs, **about))
        for pairs in effects
    ]
    if table is not None and len(table):
        names = {pairs.name for pairs in effects}
        draw = partial(panes.draw_importance, table=table, patterns=names)
        drawn.append(Pane("importance", draw))
    notes = (_ABOUT_PAIRS, _ABOUT_IMPORTANCE) if drawn else (_TOO_FEW,)
    heading = "Which sites like to share, and what matters"
    return Section(heading, tuple(drawn), notes=notes)


def _trials(results: "SearchResults", patterns: Mapping[str, Mapping]) -> Section:
    board = results.leaderboard()
    shown = {results.objective, "parameters", "seconds", *results.objectives}
    for record in results.records:
        shown |= {*record.measures, *(f"hp/{name}" for name in record.values)}
    columns = (*(name for name in board if name in shown), "status")
    board = board.assign(status=board["status"].str.lower())
    return Section("Trials", table=Table(board, columns, patterns))
