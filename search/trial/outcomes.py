"""How a trial may end beside completing and failing.

KerasTuner knows only COMPLETED and FAILED, and sends neither messages nor new statuses
between processes. So a trial carries its outcome as a metric, which KerasTuner saves
and sends like any other.
"""

import keras_tuner as kt

from keras_share.search.engine import Trial

PRUNED = "PRUNED"
REJECTED = "REJECTED"

# The metric that says for how many epochs a trial was to train.
PLANNED = "planned_epochs"

_PREFIX = "outcome/"


class TrialRejected(kt.errors.FailedTrialError):
    """To be raised before training by a trial that exceeds a budget.

    The trial counts neither as failed nor towards `max_trials`; its row has the status
    `"REJECTED"` and the message.

    Example:
    ```python
    def measure(model):
        if model.count_params() > 100_000:
            raise TrialRejected("more than 100,000 parameters")
        return {}
    ```
    """


def mark(outcome: str) -> dict[str, float]:
    """The metric that says that a trial ended with `outcome`."""
    return {_PREFIX + outcome: 1.0}


def is_mark(metric: str) -> bool:
    """Whether the name is that of a metric of `mark`."""
    return metric.startswith(_PREFIX)


def outcome_of(trial: Trial) -> str:
    """`"PRUNED"` or `"REJECTED"` for a trial so marked, else KerasTuner's status."""
    for outcome in (PRUNED, REJECTED):
        if trial.metrics.exists(_PREFIX + outcome):
            return outcome
    return trial.status
