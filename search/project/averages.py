"""Trials that train the same choice again, to see through the noise, as one."""

import json
from collections.abc import Iterable
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
    metrics = {
        name: replace(
            metric,
            value=_mean([r.metrics[name].value for r in records if name in r.metrics]),
        )
        for name, metric in top.metrics.items()
    }
    return replace(
        top,
        trials=len(records),
        score=_mean([one.score for one in records if one.score is not None]),
        seconds=_mean(seconds) if seconds else None,
        metrics=metrics,
        measures={
            name: _mean([r.measures[name] for r in records if name in r.measures])
            for name in top.measures
        },
    )


def _mean(values: list[float]) -> float:
    """The mean; the same integer as before where all are equal, as sizes are."""
    return values[0] if len(set(values)) == 1 else fmean(values)
