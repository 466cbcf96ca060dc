"""`suggest_pattern` with Optuna's own samplers, storages and kinds of trials."""

import doctest
import random

import optuna
import pytest
from optuna.samplers import NSGAIISampler, QMCSampler, RandomSampler, TPESampler

from keras_share import SharingPattern
from keras_share.search import suggest_pattern
from keras_share.search.space import numbering
from keras_share.search.space import suggest_pattern as module
from keras_share.search.space.pattern_space import PatternSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize("num_sites", [1, 4, 22, 23, 48])
@pytest.mark.parametrize("max_groups", [None, 3])
def test_every_pattern_has_values(num_sites, max_groups):
    patterns, rng = PatternSpace(num_sites, max_groups), random.Random(0)
    ends = [0, patterns.count // 3, patterns.count - 1]
    for index in ends + [rng.randrange(patterns.count) for _ in range(9)]:
        values = numbering.integers("p", patterns, patterns.pattern(index))
        trial = optuna.trial.FixedTrial(values)
        found = suggest_pattern(trial, num_sites, "p", max_groups=max_groups)
        assert found == patterns.pattern(index)
        assert trial.params == values
        assert all(
            trial.distributions[n] == optuna.distributions.IntDistribution(0, most)
            for n, most in numbering.ranges("p", patterns).items()
        )
        assert numbering.patterns_from_values(values, trial.user_attrs) == {"p": found}


@pytest.mark.parametrize("kind", [RandomSampler, TPESampler, NSGAIISampler, QMCSampler])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_other_samplers(kind, tmp_path):
    study = optuna.create_study(
        storage=f"sqlite:///{tmp_path}/study.db", sampler=kind(seed=0)
    )

    def objective(trial):
        encoder = suggest_pattern(trial, 48, name="encoder")
        decoder = suggest_pattern(trial, 5, name="decoder", families=["cycle"])
        assert suggest_pattern(trial, 48, name="encoder") == encoder
        return encoder.num_groups + decoder.num_groups

    study.optimize(objective, n_trials=15)
    table = study.trials_dataframe()
    assert (
        list(table.columns[-4:])
        == [
            *("user_attrs_decoder", "user_attrs_decoder.patterns"),
            *("user_attrs_encoder", "user_attrs_encoder.patterns"),
        ]
        or "user_attrs_encoder" in table
    )
    for trial in study.trials:
        assert objective(trial) == trial.value  # built again
        found = numbering.patterns_from_values(trial.params, trial.user_attrs)
        assert {name: str(p) for name, p in found.items()} == {
            name: trial.user_attrs[name] for name in ("encoder", "decoder")
        }
        again = optuna.trial.FixedTrial(trial.params)
        assert objective(again) == trial.value
    assert len({trial.user_attrs["encoder"] for trial in study.trials}) > 10


def test_random_draws_are_even():
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.optimize(lambda trial: suggest_pattern(trial, 3).num_groups, n_trials=300)
    drawn = [trial.user_attrs["sharing"] for trial in study.trials]
    counts = [drawn.count(str(pattern)) for pattern in SharingPattern.all(3)]
    assert sum(counts) == 300 and min(counts) > 40


def test_enqueued_patterns():
    study = optuna.create_study()
    wanted = SharingPattern("ABCABC")
    study.enqueue_trial(numbering.integers("sharing", PatternSpace(6), wanted))
    assert suggest_pattern(study.ask(), 6) == wanted


def test_other_patterns_for_one_name():
    study = optuna.create_study()
    trial = study.ask()
    suggest_pattern(trial, 6)
    with pytest.raises(ValueError, match=r"same patterns.*max_groups.*another `name`"):
        suggest_pattern(trial, 6, max_groups=2)
    study.tell(trial, 1.0)
    with pytest.raises(ValueError, match="chose from"):
        suggest_pattern(study.trials[0], 5)


def test_bad_families_are_told_before_anything_is_stored():
    trial = optuna.create_study().ask()
    with pytest.raises(ValueError, match="names out of"):
        suggest_pattern(trial, 4, families=["round"])
    assert trial.params == trial.user_attrs == {}


def test_attributes_of_the_user_that_are_called_like_ours():
    trial = optuna.create_study().ask()
    trial.set_user_attr("knitting.patterns", ["cable", "moss"])
    pattern = suggest_pattern(trial, 3)
    assert numbering.patterns_from_values(trial.params, trial.user_attrs) == {
        "sharing": pattern
    }


def test_docstring_examples():
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(numbering).failed == 0
