"""What a record says of a trial."""

from dataclasses import replace

import synthetic_search as synthetic

from keras_share import SharingPattern
from keras_share.search.project.record import format_patterns, parse_patterns


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
