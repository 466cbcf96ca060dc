"""What a record says of a trial, and that it comes back from JSON."""

import json
from dataclasses import replace

import pytest
import synthetic_search as synthetic

from keras_share import SharingPattern
from keras_share.search.project.record import (
    TrialRecord,
    format_patterns,
    parse_patterns,
)

# As version 0.1.0 wrote it.
WRITTEN = """{
  "trial_id": "07", "status": "COMPLETED", "pattern": "attention=AAB ffn=ABA",
  "patterns": {"attention": "AAB", "ffn": "ABA"}, "num_groups": 4, "parameters": 90,
  "objective": "val_accuracy", "direction": "max",
  "objectives": [{"name": "val_accuracy", "direction": "max"}],
  "score": 0.75,
  "metrics": {"val_accuracy": {"value": 0.75, "direction": "max"}},
  "measures": {"exported_bytes": 1024}, "started": 1.5, "ended": 3.5, "seconds": 2.0,
  "worker": "tuner0", "hyperparameters": {"attention": 1, "ffn": 2, "units": 8},
  "message": null
}"""


def record(**changes):
    return replace(synthetic.search(trials=1).records[0], **changes)


@pytest.mark.parametrize("names", [("sharing",), ("attention", "ffn"), ("a b=",)])
def test_back_from_json(names):
    for found in synthetic.search(trials=5, names=names).records:
        text = json.dumps(found.to_dict())
        assert TrialRecord.from_dict(json.loads(text)) == found


def test_the_file_is_as_it_was():
    content = json.loads(WRITTEN)
    found = TrialRecord.from_dict(content)
    assert found.to_dict() == content
    assert (found.objective, found.direction, found.num_groups) == (
        *("val_accuracy", "max"),
        4,
    )
    assert found.numbers == {
        **{"parameters": 90, "val_accuracy": 0.75},
        **{"exported_bytes": 1024},
    }


def test_what_earlier_versions_did_not_write():
    content = json.loads(WRITTEN)
    for name in ("patterns", "objectives", "started", "ended", "worker"):
        del content[name]
    found = TrialRecord.from_dict(content)
    assert found.patterns == {
        "attention": SharingPattern("AAB"),
        "ffn": SharingPattern("ABA"),
    }
    assert found.objectives == {"val_accuracy": "max"}
    assert found.started is None


@pytest.mark.parametrize("content", [None, 3, [], {}, {"objective": "a"}])
def test_what_is_no_record(content):
    with pytest.raises(ValueError, match=r"record of a trial must have .* without "):
        TrialRecord.from_dict(content)


def test_odd_patterns():
    assert parse_patterns("") == {}
    many = {"a b=": SharingPattern(range(60))}
    assert record(patterns=many).to_dict()["patterns"] == {"a b=": str(many["a b="])}
    for patterns in (many, {"sharing": SharingPattern("AB")}):
        found = record(patterns=patterns)
        assert TrialRecord.from_dict(found.to_dict()) == found
    text = format_patterns({"x": SharingPattern("AB"), "y": SharingPattern("AA")})
    assert text == "x=AB y=AA"


def test_values_do_not_encode_a_pattern():
    values = {"sharing": 3, "sharing.2": 5, "sharing.patterns": "x", "sharing.rate": 1}
    found = record(hyperparameters={**values, "units": 7, "xsharing": 2})
    assert found.values == {"sharing.rate": 1, "units": 7, "xsharing": 2}
    patterns = {"a(": SharingPattern("AAB")}
    found = record(patterns=patterns, hyperparameters={"a(": 1, "a(.2": 2, "a": 3})
    assert found.values == {"a": 3}


def test_another_objective_has_its_own_score():
    first = record()
    loss = first.metrics["val_loss"].value
    assert first.scored_by({"val_loss": "min"}).score == loss
    assert (
        first.scored_by({"exported_bytes": "min"}).score
        == 1.0 * (first.measures["exported_bytes"])
    )
    assert first.scored_by({"val_auc": "max"}).score is None
    assert first.scored_by({"val_auc": "max"}).is_completed is False
    assert (
        replace(first, status="PRUNED", score=None).scored_by({"val_loss": "min"}).score
        is None
    )
