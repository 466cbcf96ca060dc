"""The trials of KerasTuner's own tuners, as records."""

import keras_tuner as kt

from keras_share.search.engine import Trial, TrialStatus
from keras_share.search.project.record import TrialRecord
from keras_share.search.space.sharing_pattern import patterns_of


def records_of_tuner(
    tuner: kt.Tuner,
) -> tuple[tuple[TrialRecord, ...], dict[str, str]]:
    """The records of the trials that have ended, and the objectives with directions."""
    objective = tuner.oracle.objective
    several = getattr(objective, "objectives", [objective])
    directions = {one.name: one.direction for one in several}
    ended = (TrialStatus.COMPLETED, TrialStatus.FAILED)
    trials = [t for t in tuner.oracle.trials.values() if t.status in ended]
    main = next(iter(directions))
    return tuple(_record(trial, main) for trial in trials), directions


def _record(trial: Trial, objective: str) -> TrialRecord:
    metrics = {
        name: float(history.get_best_value())
        for name, history in trial.metrics.metrics.items()
    }
    score = None
    if trial.status == TrialStatus.COMPLETED and trial.score is not None:
        # Several objectives are one sum to KerasTuner.
        score = metrics[objective]
    return TrialRecord(
        trial_id=trial.trial_id,
        status=trial.status,
        patterns=patterns_of(trial.hyperparameters),
        score=score,
        metrics=metrics if score is not None else {},
        hyperparameters={
            name: value
            for name, value in trial.hyperparameters.values.items()
            if not name.endswith(".patterns")  # the same in every trial
        },
        message=trial.message,
    )
