"""Objectives: one or several, with their directions."""

import keras_tuner as kt
import pytest

from keras_share.search.trial import objectives


def read(objective):
    return list(objectives.get(objective).items())


def test_what_is_read():
    assert read("val_accuracy") == [("val_accuracy", "max")]
    assert read("val_loss") == [("val_loss", "min")]
    assert read(kt.Objective("val_f1", "max")) == [("val_f1", "max")]
    assert read(["val_accuracy", "exported_bytes", "latency_ms"]) == [
        *(("val_accuracy", "max"), ("exported_bytes", "min"), ("latency_ms", "min"))
    ]
    assert read((kt.Objective("val_f1", "max"), "val_loss"))[1] == ("val_loss", "min")
    assert read(None) == [("default_objective", "min")]
    assert objectives.signs(objectives.get(["val_accuracy", "macs"])) == (-1, 1)


@pytest.mark.parametrize(
    "objective", [[], ["val_loss", "val_loss"], "exported_bytes", ["macs", "val_loss"]]
)
def test_impossible(objective):
    with pytest.raises(ValueError, match=r"metric of training first.*Received: obj"):
        objectives.get(objective)


def test_unknown_direction():
    with pytest.raises(ValueError, match=r"'val_f1'.*keras_tuner.Objective\('val_f1'"):
        objectives.get(["val_f1", "exported_bytes"])


@pytest.mark.parametrize(
    "objective", [3, ["val_loss", len]], ids=["number", "function"]
)
def test_no_name(objective):
    with pytest.raises(ValueError, match=r"must be the name of a metric.*Received: "):
        objectives.get(objective)
