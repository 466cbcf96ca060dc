"""The record of a trial that has ended, made from what the oracle says of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner as kt

from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.project.record import Metric, TrialRecord
from keras_share.search.space.sharing_pattern import patterns_of
from keras_share.search.trial.outcomes import PLANNED, is_mark, outcome_of


def record_of(
    trial: Trial,
    objectives: Sequence[kt.Objective],
    *,
    measures: Mapping[str, float],
    started: float,
    ended: float,
    message: str | None,
    **facts: Any,
) -> TrialRecord:
    """The record of a trial that has ended.

    Args:
        trial: The trial as the oracle has it, with its status, score and metrics.
        objectives: Of the search, the one that scores a trial first.
        measures: Field of the record, like all that follow.
        started: When it began.
        ended: When it ended.
        message: Why it has no score, if that is known.
        **facts: Further fields.
    """
    main, status = objectives[0].name, outcome_of(trial)
    has_failed = status in (TrialStatus.FAILED, TrialStatus.INVALID)
    aside = {"parameters", PLANNED, *measures}
    metrics = {
        name: Metric(float(history.get_best_value()), history.direction)
        for name, history in trial.metrics.metrics.items()
        if not (has_failed or name in aside or is_mark(name))
    }
    score = None
    if status == TrialStatus.COMPLETED and trial.score is not None:
        # KerasTuner's own oracles score a trial by the sum of several objectives.
        score = trial.score if len(objectives) == 1 else metrics[main].value
    if message is None and has_failed:
        message = f"{main} is NaN"
    return TrialRecord(
        trial_id=trial.trial_id,
        status=status,
        objectives={one.name: one.direction for one in objectives},
        patterns=patterns_of(trial.hyperparameters),
        score=None if score is None else float(score),
        metrics=metrics,
        measures=dict(measures),
        hyperparameters={
            name: value
            for name, value in trial.hyperparameters.values.items()
            if not name.endswith(".patterns")  # the same in every trial
        },
        seconds=ended - started,
        started=started,
        ended=ended,
        message=message,
        **facts,
    )
