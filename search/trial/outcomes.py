"""How a trial may end beside completing and failing."""

import keras_tuner as kt


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
