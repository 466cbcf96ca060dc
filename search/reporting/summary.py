"""What a search found, in a few words."""

import math
import numbers
from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd

from keras_share.search.reporting.course import course
from keras_share.search.reporting.formats import format_seconds

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

_WORDS = {
    "COMPLETED": "done",
    "FAILED": "failed",
    "REJECTED": "rejected",
    "PRUNED": "stopped early",
}


def summary(results: "SearchResults") -> dict[str, str]:
    """The lines at the top of a report, by what they are about."""
    counts = Counter(record.status for record in results.records)
    trials = [f"{n:,} {_WORDS.get(s, s.lower())}" for s, n in counts.most_common()]
    found = {"trials": ", ".join(trials) or "none"}
    best = results.leaderboard(average=True)[:1]
    if len(best):
        score, trial_id = best[results.objective].iloc[0], best["trial_id"].iloc[0]
        found[f"best {results.objective}"] = f"{number(score)} (trial {trial_id})"
        columns = results.default_columns()
        knee = results.knee(*columns)
        values = ", ".join(f"{column} {number(knee[column])}" for column in columns)
        found["knee of the front"] = f"{values} (trial {knee['trial_id']})"
        volume = course(results)["volume"].iloc[-1]
        if not math.isnan(volume):
            found["hypervolume"] = (
                f"{volume:.3f} of the box between the best and the worst"
            )
    found["time"] = _time(results)
    return found


def number(value: object) -> str:
    """A number for people; words as they are."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return "-" if value is None or value is pd.NA else str(value)
    # Also of NaN and infinity `value % 1` is none.
    return f"{math.floor(value):,}" if value % 1 == 0 else f"{value:,.4g}"


def _time(results: "SearchResults") -> str:
    worked = sum(record.seconds or 0 for record in results.records)
    text = f"{format_seconds(worked)} of trials"
    begun = [one.started for one in results.records if one.started is not None]
    ended = [one.ended for one in results.records if one.ended is not None]
    if begun and len(begun) == len(ended) == len(results.records):
        passed = max(ended) - min(begun)
        text += f", {format_seconds(passed)} from the first start to the last end"
    return text
