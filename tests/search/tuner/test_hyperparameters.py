"""KerasTuner's hyperparameters as distributions of Optuna: the same values."""

import doctest
import random

import keras_tuner as kt
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from keras_share import SharingPattern
from keras_share.search import sharing_pattern
from keras_share.search.policies import ValueSpace
from keras_share.search.tuner import hyperparameters
from keras_share.search.tuner.hyperparameters import distribution, value_space


@pytest.mark.parametrize(
    "declare",
    [
        lambda hp: hp.Int("x", -2, 9),
        lambda hp: hp.Int("x", 8, 64, step=8),
        lambda hp: hp.Int("x", 1, 12, step=5),
        lambda hp: hp.Int("x", 1, 64, step=2, sampling="log"),
        lambda hp: hp.Int("x", 1, 64, step=2, sampling="reverse_log"),
        lambda hp: hp.Float("x", 0.0, 1.0, step=0.25),
        lambda hp: hp.Float("x", 1.0, 9.0, step=3, sampling="log"),
        lambda hp: hp.Choice("x", [3, 5, 7]),
        lambda hp: hp.Choice("x", ["relu", "gelu"]),
        lambda hp: hp.Boolean("x"),
        lambda hp: hp.Fixed("x", "adam"),
    ],
)
def test_values(declare):
    hp = kt.HyperParameters()
    declare(hp)
    (d,) = ValueSpace({"x": distribution(hp.space[0])}).dimensions
    expected = sorted(hp.space[0].values, key=repr)
    found = sorted(d.choices, key=repr)
    assert {type(value) for value in found} == {type(hp.space[0].default)}
    assert found == [
        pytest.approx(value) if type(value) is float else value for value in expected
    ]


def test_ranges_without_steps():
    hp = kt.HyperParameters()
    hp.Int("units", 1, 64, sampling="log")
    hp.Float("rate", 1e-4, 1e-1, sampling="log")
    hp.Float("momentum", 0.9, 0.999, sampling="reverse_log")
    assert [distribution(p) for p in hp.space] == [
        IntDistribution(1, 64, log=True),
        FloatDistribution(1e-4, 1e-1, log=True),
        FloatDistribution(0.9, 0.999),
    ]


def test_a_point_is_what_kerastuner_gets():
    hp = kt.HyperParameters()
    hp.Choice("kind", ["stack", "plain"])
    with hp.conditional_scope("kind", ["stack"]), hp.name_scope("encoder"):
        sharing_pattern(hp, 48)
    with hp.conditional_scope("kind", ["plain"]):
        hp.Int("width", 1, 5)
    hp.Fixed("classes", 10)
    space = value_space(hp.space)
    kinds = set()
    for seed in range(20):
        point = space.draw(random.Random(seed))
        values = space.values(point)
        assert space.read(values) == point
        hp.values = dict(values)
        hp.ensure_active_values()
        assert hp.values == {n: v for n, v in values.items() if n in hp.values}
        assert {p.name for p in hp.space if hp.is_active(p)} == set(values)
        kinds.add(tuple(sorted(point)))
        if point["kind"] == "stack":
            assert isinstance(point["encoder/sharing"], SharingPattern)
    assert len(kinds) == 2


def test_docstring_example():
    assert doctest.testmod(hyperparameters).failed == 0
