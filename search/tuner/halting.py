"""When a search ends early, and what is said then."""

import math
from collections.abc import Sequence, Set

from keras_share.search.project.record import TrialRecord

_MOST_REJECTIONS = 10  # in a row, times the trials that there may be


class HaltedError(RuntimeError):
    """A search ends because trial after trial fails or is rejected."""


def reason_to_halt(
    records: Sequence[TrialRecord],
    before: Set[str],
    most_failures: int | None,
    most_trials: int | None,
    is_exhausted: bool,
) -> str | None:
    """Why no more trials are to be started, None while they are.

    Trials that ended `before` this search began, or went on, are no reason.
    """
    all_rejected = is_exhausted and {one.status for one in records} == {"REJECTED"}
    new = [one for one in records if all_rejected or one.trial_id not in before]
    latest = sorted(new, key=lambda one: one.ended or 0, reverse=True)
    if not latest:
        return None
    failures, rejections = (_in_a_row(s, latest) for s in ("FAILED", "REJECTED"))
    reason = f"trial {latest[0].trial_id} with: {latest[0].reason or 'unknown'}"
    if most_failures and failures >= most_failures:
        return (
            f"{failures} trials in a row failed, {reason}\nAll results are kept. Mend "
            "the cause and start the search again: it goes on with further trials. Or "
            f"raise `max_consecutive_failed_trials` ({most_failures})."
        )
    if all_rejected or rejections >= _MOST_REJECTIONS * (most_trials or math.inf):
        return (
            f"{rejections} trials in a row were rejected, {reason}\nAll results are "
            "kept. Loosen the budget or enlarge the search space with smaller "
            "candidates, under another `project_name`."
        )
    return None


def _in_a_row(status: str, latest: Sequence[TrialRecord]) -> int:
    """How many of the records come before the first of another status."""
    others = (i for i, one in enumerate(latest) if one.status != status)
    return next(others, len(latest))
