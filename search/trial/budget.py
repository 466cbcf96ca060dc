"""What a trial may cost at most, checked before it is trained."""

from collections.abc import Mapping
from typing import Any

from keras_share.search.trial.outcomes import TrialRejected


def limits(max_bytes: float | None, max_latency: float | None) -> dict[str, float]:
    """The limits on measures that a budget stands for.

    Args:
        max_bytes: The most that the exported file may have.
        max_latency: The longest that a run of it may take, in milliseconds.

    Raises:
        ValueError: If one of them is not a positive number.
    """
    found = {}
    for name, measure, value in (
        ("max_bytes", "exported_bytes", max_bytes),
        ("max_latency", "latency_ms", max_latency),
    ):
        if value is None:
            continue
        if not isinstance(value, (int, float)) or not value > 0:
            raise ValueError(
                f"`{name}` must be a positive number of {measure}, or None for no "
                f"limit. Received: {name}={value!r}"
            )
        found[measure] = value
    return found


def check(measures: Mapping[str, Any], limits: Mapping[str, float]) -> None:
    """Rejects a trial whose measures exceed a limit.

    Raises:
        TrialRejected: If one does.
        ValueError: If a measure that has a limit is missing.
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
