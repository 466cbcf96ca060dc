"""What a row says of its patterns and hyperparameters."""

import pytest
import synthetic_search as synthetic

from keras_share import SharingPattern
from keras_share.search.project.choices import chosen_patterns, chosen_values


def row(**more):
    return synthetic.search(trials=1).rows[0] | more


@pytest.mark.parametrize("names", [("sharing",), ("attention", "ffn")])
def test_patterns_come_back(names):
    for found in synthetic.search(trials=5, names=names).rows:
        patterns = chosen_patterns(found)
        assert {name: str(p) for name, p in patterns.items()} == found["patterns"]
        # The text alone says the same.
        assert chosen_patterns({"pattern": found["pattern"]}) == patterns


def test_odd_patterns():
    assert chosen_patterns(row(patterns={}, pattern="")) == {}
    assert chosen_patterns({"pattern": ""}) == {}
    assert chosen_patterns({"pattern": None}) == {}
    many = SharingPattern(range(60))
    assert chosen_patterns(row(patterns={"a b=": str(many)})) == {"a b=": many}


def test_values_do_not_encode_a_pattern():
    values = {"sharing": 3, "sharing.2": 5, "sharing.patterns": "x", "sharing.rate": 1}
    found = chosen_values(row(hyperparameters={**values, "units": 7, "xsharing": 2}))
    assert found == {"sharing.rate": 1, "units": 7, "xsharing": 2}
    values = {"a(": 1, "a(.2": 2, "a": 3}
    found = row(patterns={"a(": "AAB"}, hyperparameters=values)
    assert chosen_values(found) == {"a": 3}
