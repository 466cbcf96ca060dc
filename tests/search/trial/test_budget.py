"""What a trial may cost at most."""

import pytest

from keras_share.search.trial.budget import TrialRejected, check, limits


def test_a_budget_may_be_spent_and_not_exceeded():
    budget = limits(max_bytes=1000, max_latency=None)
    check({"exported_bytes": 1000, "latency_ms": 9.0}, budget)
    with pytest.raises(TrialRejected, match="exported_bytes 1001 is over 1000"):
        check({"exported_bytes": 1001}, budget)
