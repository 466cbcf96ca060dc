"""The report of a search as one HTML page that needs nothing beside it."""

import base64
import io
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.axes import Axes

from keras_share.figures import PLAIN, new_figure
from keras_share.search.project.record import TrialRecord
from keras_share.search.reporting import panes
from keras_share.search.reporting.effects import MIN_TRIALS, effects
from keras_share.search.reporting.formats import format_number, format_seconds
from keras_share.search.reporting.front import draw_front
from keras_share.search.reporting.strips import squares

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

_WORDS = {
    "COMPLETED": "done",
    "FAILED": "failed",
    "REJECTED": "rejected",
    "PRUNED": "stopped early",
}
_STYLE: dict[Any, Any] = {
    **PLAIN,
    **{"axes.labelsize": 8, "xtick.labelsize": 8, "ytick.labelsize": 8},
    **{"axes.titlesize": 8, "legend.fontsize": 7.5},
}
# What draws a picture into axes, by what it is about.
Panes = list[tuple[str, Callable[[Axes], object]]]


def render_page(
    results: "SearchResults",
    winner: str | os.PathLike | None = None,
    template: str = "report.html",
    **more: Any,
) -> str:
    """Writes the page.

    A `winner` is the file of the best trial, to be audited; a template may need more.
    """
    from keras_share.tflite.inspect.audit import audit

    is_scored = _is_scored(results)
    columns = results.default_columns() if is_scored else ()
    shown = dict.fromkeys((*columns, results.objective, "parameters"))
    return _ENVIRONMENT.get_template(template).render(
        title=f"Search for {results.objective}",
        summary=_summary(results),
        fronts=[
            ("front", partial(draw_front, results, x, y, columns=columns))
            for x, y in combinations(columns, 2)
        ],
        front=results.pareto_front() if is_scored else None,
        front_columns=[*shown, *settings(results)],
        knee=results.knee()["trial_id"] if is_scored else None,
        course=[("score", partial(panes.draw_scores, results=results))] * is_scored,
        matters=list(_matters(results)),
        trials=results.leaderboard(),
        trial_columns=_trial_columns(results),
        records={record.trial_id: record for record in results.records},
        failures=_failures(results.records),
        audit=None if winner is None else audit(winner),
        min_trials=MIN_TRIALS,
        **more,
    )


def _is_scored(results: "SearchResults") -> bool:
    scores = [one.score for one in results.records if one.is_completed]
    return bool(np.isfinite(np.array(scores, float)).any())


def _summary(results: "SearchResults") -> dict[str, str]:
    """What was found in a few words, by what they are about."""
    counts = Counter(record.status for record in results.records)
    words = [f"{n:,} {_WORDS.get(s, s.lower())}" for s, n in counts.most_common()]
    found = {"trials": ", ".join(words) or "none"}
    best = results.leaderboard(average=True)[:1]
    if _is_scored(results):
        score, trial_id = best[results.objective].iloc[0], best["trial_id"].iloc[0]
        found[f"best {results.objective}"] = (
            f"{format_number(score)} (trial {trial_id})"
        )
        columns, knee = results.default_columns(), results.knee()
        values = ", ".join(f"{name} {format_number(knee[name])}" for name in columns)
        found["knee of the front"] = f"{values} (trial {knee['trial_id']})"
    worked = sum(record.seconds or 0 for record in results.records)
    found["time"] = f"{format_seconds(worked)} of trials"
    begun = [one.started for one in results.records if one.started is not None]
    ended = [one.ended for one in results.records if one.ended is not None]
    if begun and len(begun) == len(ended) == len(results.records):
        passing = format_seconds(max(ended) - min(begun))
        found["time"] += f", {passing} from the first start to the last end"
    return found


def _matters(results: "SearchResults") -> Iterator:
    found = effects(results)
    if found is None:
        return
    draw = partial(
        panes.draw_pairs, objective=results.objective, direction=results.direction
    )
    for pairs in found.pairs:
        yield "pairs", partial(draw, pairs=pairs)
    if found.importance:
        yield "importance", partial(panes.draw_importance, effects=found)


def settings(results: "SearchResults") -> list[str]:
    """The columns of hyperparameters that are no patterns."""
    return list({f"hp/{name}": 0 for one in results.records for name in one.values})


def _trial_columns(results: "SearchResults") -> list[str]:
    shown = {results.objective, "parameters", "seconds", *results.objectives}
    shown |= {name for record in results.records for name in record.measures}
    shown |= {*settings(results)}
    return [*(name for name in results.leaderboard() if name in shown), "status"]


def _failures(
    records: tuple[TrialRecord, ...],
) -> Mapping[tuple[str, str], list[TrialRecord]]:
    """The trials without a score, by their status and why they have none."""
    kinds = defaultdict(list)
    for record in records:
        if record.status != "COMPLETED":
            kind = record.status.lower(), record.reason or "no message"
            kinds[kind].append(record)
    return kinds


def _png(draw: Callable[[Axes], object]) -> str:
    """A picture by itself, of a size that can be read on a phone."""
    file = io.BytesIO()
    with rc_context(_STYLE):
        figure = new_figure(4.6, 3.8, dpi=220)
        draw(figure.add_subplot())
        figure.savefig(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


_ENVIRONMENT = Environment(
    loader=PackageLoader("keras_share.search.reporting"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.globals.update(squares=squares, png=_png, number=format_number)
