"""What a record says of a trial."""

from dataclasses import replace

import pytest
import synthetic_search as synthetic
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial

from keras_share import SharingPattern
from keras_share.search.project.record import (
    format_patterns,
    parse_patterns,
    record_of,
)


def record(**changes):
    return replace(synthetic.search(trials=1).records[0], **changes)


def test_odd_patterns():
    assert parse_patterns("") == {}
    for patterns in (
        {"a=": SharingPattern(range(60))},
        {"sharing": SharingPattern("AB")},
        {"x": SharingPattern("AB"), "y": SharingPattern("AA")},
    ):
        assert parse_patterns(format_patterns(patterns)) == patterns
    assert format_patterns(patterns) == "x=AB y=AA"


def test_values_do_not_encode_a_pattern():
    values = {"sharing": 3, "sharing.2": 5, "sharing.patterns": "x", "sharing.rate": 1}
    found = record(hyperparameters={**values, "units": 7, "xsharing": 2})
    assert found.values == {"sharing.rate": 1, "units": 7, "xsharing": 2}
    patterns = {"a(": SharingPattern("AAB")}
    found = record(patterns=patterns, hyperparameters={"a(": 1, "a(.2": 2, "a": 3})
    assert found.values == {"a": 3}


def trial_of(state=TrialState.COMPLETE, params=None, **attributes):
    distributions = {name: IntDistribution(0, 9) for name in params or {}}
    return create_trial(
        state=state,
        values=[0.5] if state == TrialState.COMPLETE else None,
        params=params or {},
        distributions=distributions,
        user_attrs=attributes,
    )


def test_attributes_of_a_study_may_be_anything():
    odd = {"message": ["a\ud800"], "worker": ["w"], "": 1.0, "_place": "x", "loss": 1}
    found = record_of(trial_of(_measures=7, size=10**400, **odd), {"value": "max"})
    assert (found.message, found.worker, found.place) == ("['a\\ud800']", "['w']", -1)
    assert found.numbers == {"loss": 1} and found.score is None
    found = record_of(trial_of(message="a\ud800"), {"value": "max"})
    assert (found.message, found.score) == ("a?", 0.5)
    found = record_of(trial_of(_measures=[["a"], "b"], b=2.0), {"b": "max"})
    assert found.measures == {"b": 2.0} and found.score == 2.0
    found = record_of(trial_of(_measures=[], b="good"), {"b": "max"})
    assert found.score is None and not found.is_completed


@pytest.mark.parametrize(
    "said",
    ['{"num_sites"', '{"num_sites": 5000}', '{"num_sites": 6, "x": 1}'],
)
def test_patterns_that_nobody_wrote(said):
    trial = trial_of(params={"sharing": 1}, **{"sharing.patterns": said})
    with pytest.raises(ValueError, match=r"as `sharing_pattern` or .* trial -1"):
        record_of(trial, {"value": "max"})
