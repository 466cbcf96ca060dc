"""When a search ends early, and what is said then."""

import itertools
import math
from collections.abc import Sequence, Set

from keras_share.search.project.record import TrialRecord

_MOST_REJECTIONS = 10  # in a row, times the trials that there may be


class HaltedError(RuntimeError):
    """A search ends because trial after trial fails or is rejected."""


def check(
    records: Sequence[TrialRecord],
    before: Set[str],
    most_failures: int | None,
    most_trials: int | None,
    is_exhausted: bool,
) -> None:
    """Raises HaltedError if no more trials are to be started.

    Trials that ended `before` this search began, or went on, are no reason.
    """
    all_rejected = is_exhausted and {one.status for one in records} == {"REJECTED"}
    new = [one for one in records if all_rejected or one.trial_id not in before]
    latest = sorted(new, key=lambda one: one.ended or 0, reverse=True)
    if not latest:
        return
    status, alike = next(itertools.groupby(one.status for one in latest))
    count = len(list(alike))
    reason = f"trial {latest[0].trial_id} with: {latest[0].reason or 'unknown'}"
    if status == "FAILED" and most_failures and count >= most_failures:
        raise HaltedError(
            f"{count} trials in a row failed, {reason}\nAll results are kept. Mend "
            "the cause and start the search again: it goes on with further trials. Or "
            f"raise `max_consecutive_failed_trials` ({most_failures})."
        )
    most_rejections = _MOST_REJECTIONS * (most_trials or math.inf)
    if status == "REJECTED" and (all_rejected or count >= most_rejections):
        raise HaltedError(
            f"{count} trials in a row were rejected, {reason}\nAll results are "
            "kept. Loosen the budget or enlarge the search space with smaller "
            "candidates, under another `project_name`."
        )
