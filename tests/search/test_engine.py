"""What is taken from inside KerasTuner is as assumed: each of these fails when not."""

import keras_tuner as kt
import pytest

from keras_share.search import engine


@pytest.mark.parametrize(
    "owner, names",
    [
        (kt.Oracle, ("_project_dir", "remaining_trials", "update_space")),
        (kt.Tuner, ("_populate_initial_space", "pre_create_trial", "project_dir")),
    ],
)
def test_what_is_overridden_or_read(owner, names):
    for name in names:
        assert hasattr(owner, name), name


def test_kinds_of_hyperparameters():
    hp = kt.HyperParameters()
    hp.Int("i", 0, 9, step=3)
    hp.Float("f", 0.0, 1.0)
    hp.Choice("c", [1, 2])
    hp.Boolean("b")
    hp.Fixed("x", 1)
    kinds = [engine.Int, engine.Float, engine.Choice, engine.Boolean, engine.Fixed]
    assert [type(parameter) for parameter in hp.space] == kinds
    whole = hp.space[0]
    assert [whole.prob_to_value(whole.value_to_prob(v)) for v in (0, 4, 9)] == [0, 3, 9]
    for parameter in hp.space:
        assert isinstance(parameter, engine.HyperParameter)
        assert parameter.conditions == [] and parameter.default is not None


def test_trials_and_metrics():
    states = ("RUNNING", "IDLE", "INVALID", "STOPPED", "COMPLETED", "FAILED")
    assert [getattr(engine.TrialStatus, state) for state in states] == list(states)
    assert engine.infer_metric_direction("val_accuracy") == "max"
    assert engine.infer_metric_direction("no_such_metric") is None


def test_zero_is_drawn_anew_by_keras_tuner():
    assert kt.Oracle("loss", seed=0).seed != 0  # else `seed_of` has nothing to do
    assert [*map(engine.seed_of, (None, 0, 5))] == [None, 2**31 - 1, 5]
