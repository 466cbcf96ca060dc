"""What a trial may cost at most, checked before it is trained."""

from collections.abc import Mapping
from typing import Any

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


def limits(max_bytes: float | None, max_latency: float | None) -> dict[str, float]:
    """The limits on measures that a budget stands for: bytes, and milliseconds.

    Raises:
        ValueError: If one of them is not a positive number.
    """
    given = {"exported_bytes": max_bytes, "latency_ms": max_latency}
    found = {name: most for name, most in given.items() if most is not None}
    if not all(isinstance(n, (int, float)) and n > 0 for n in found.values()):
        raise ValueError(
            "`max_bytes` and `max_latency` must be positive numbers, or None for no "
            f"limit. Received: max_bytes={max_bytes!r}, max_latency={max_latency!r}"
        )
    return found


def check(measures: Mapping[str, Any], limits: Mapping[str, float]) -> None:
    """Rejects a trial whose measures exceed a limit.

    It is a ValueError if a measure that has a limit is missing.
    """
    for name, limit in limits.items():
        if name not in measures:
            raise ValueError(
                f"A limit can only be set on what is measured. Received: a limit on "
                f"{name!r}, with {', '.join(measures) or 'nothing'} measured. Let the "
                "tuner `export` the models."
            )
        if measures[name] > limit:
            raise TrialRejected(f"{name} {measures[name]:.6g} is over {limit:.6g}")
