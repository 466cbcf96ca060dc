"""Trials that train the same choice again, to see through the noise, as one."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from keras_share.search.project.record import TrialRecord, best


def averaged(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """One record for all completed trials of equal patterns and hyperparameters.

    Each number is the mean over them; everything else, like `trial_id`, is of the one
    with the best score. `trials` says how many they are.

    Args:
        records: Records of one search; what has no score is left out.

    Returns:
        Records in order of the first of each choice.
    """
    choices: dict[str, list[TrialRecord]] = {}
    for record in records:
        if record.is_completed:
            chosen = json.dumps([record.pattern, record.values], sort_keys=True)
            choices.setdefault(chosen, []).append(record)
    return [_merged(repeats) for repeats in choices.values()]


def _merged(records: list[TrialRecord]) -> TrialRecord:
    top = best(records) or records[0]
    seconds = [one.seconds for one in records if one.seconds is not None]
    return replace(
        top,
        trials=len(records),
        score=_mean([one.score for one in records if one.score is not None]),
        seconds=_mean(seconds) if seconds else None,
        metrics=_means([record.metrics for record in records]),
        measures=_means([record.measures for record in records]),
    )


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each number over those that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _mean([row[name] for row in rows if name in row]) for name in names}


def _mean(values: list[float]) -> float:
    """The mean; the same integer as before where all are equal, as sizes are."""
    return values[0] if len(set(values)) == 1 else fmean(values)
