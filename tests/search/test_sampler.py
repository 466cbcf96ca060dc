"""`SharingSampler`: Optuna's own tests of samplers, and what ours adds."""

import random
import statistics
import subprocess
import sys
import time
from itertools import combinations

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import TrialState

from keras_share import SharingPattern
from keras_share.search import SharingSampler, suggest_pattern
from keras_share.search.policies import POLICIES, Observation
from keras_share.search.space import numbering
from keras_share.search.space.pattern_space import PatternSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)


class TestByOptuna(
    BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    """What Optuna asks of any sampler."""

    @pytest.fixture(params=list(POLICIES))
    def sampler(self, request):
        return lambda: SharingSampler(request.param)


def study_of(sampler=None, **kwargs):
    return optuna.create_study(sampler=sampler or SharingSampler(seed=0), **kwargs)


def pairs(pattern):
    labels = pattern.labels
    return np.array([a == b for a, b in combinations(labels, 2)])


COSTS = np.random.default_rng(1).gamma(1, 1, size=15)


def cost(pattern):
    """A cost for each pair of sites that shares, and one for each group."""
    return float(COSTS @ pairs(pattern) + 2.5 * pattern.num_groups)


def objective(trial):
    return cost(suggest_pattern(trial, 6))


def mixed(trial):
    """Two patterns, and what is asked for only sometimes."""
    total = cost(suggest_pattern(trial, 6, name="attention"))
    total += suggest_pattern(trial, 48, name="ffn", max_groups=5).num_groups
    total += trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    if trial.suggest_categorical("relax", ["none", "low_rank"]) == "low_rank":
        total += trial.suggest_int("rank", 1, 16, log=True)
        total += suggest_pattern(trial, 4, name="inner", families="cycle").num_groups
    return total


def test_finds_better_patterns_than_other_samplers():
    ranks = {}
    order = sorted(SharingPattern.all(6), key=cost)
    for name, make in {
        "ours": SharingSampler,
        "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    }.items():
        found = []
        for seed in range(3):
            study = study_of(make(seed=seed))
            study.optimize(objective, n_trials=25)
            best = SharingPattern(study.best_trial.user_attrs["sharing"])
            found.append(1 + order.index(best))
        ranks[name] = statistics.mean(found)
    assert ranks["ours"] < 0.5 * ranks["tpe"]


def test_nothing_twice_and_everything_once():
    study = study_of()
    study.optimize(lambda trial: suggest_pattern(trial, 4).num_groups, n_trials=15)
    assert {t.params["sharing"] for t in study.trials} == set(range(15))
    assert [t.user_attrs["sharing"] for t in study.trials[:2]] == ["ABCD", "AAAA"]
    # A study goes on as long as its user says.
    study.optimize(lambda trial: suggest_pattern(trial, 4).num_groups, n_trials=1)
    assert len(study.trials) == 16


@pytest.mark.parametrize("policy", POLICIES)
def test_same_seed_same_study(policy):
    def values(seed):
        study = study_of(SharingSampler(policy, seed=seed))
        study.optimize(mixed, n_trials=14)
        return [trial.params for trial in study.trials]

    assert values(3) == values(3) != values(4)
    assert SharingSampler().seed != SharingSampler().seed


def test_a_study_goes_on_as_if_it_had_not_stopped(tmp_path):
    whole = study_of()
    whole.optimize(mixed, n_trials=12)
    storage = f"sqlite:///{tmp_path}/study.db"
    for _ in range(4):
        study = study_of(study_name="one", storage=storage, load_if_exists=True)
        study.optimize(mixed, n_trials=3)
    assert [t.params for t in study.trials] == [t.params for t in whole.trials]


def test_what_is_asked_for_sometimes_is_proposed_with_the_rest():
    study = study_of(directions=["minimize", "maximize"])
    study.optimize(lambda trial: (mixed(trial), trial.params["rate"]), n_trials=20)
    space = study.sampler.problem(study).space
    found = {d.name: [c.name for c in d.conditions] for d in space.dimensions}
    assert found == {
        **{"attention": [], "ffn": [], "rate": [], "relax": []},
        **{"rank": ["relax"], "inner": ["relax"]},
    }
    asked = study.ask()
    mixed(asked)
    expected = study.sampler.problem(study).observations[-1].point
    assert ("rank" in expected) == (asked.params["relax"] == "low_rank")


def distances(patterns):
    return [np.sum(pairs(a) != pairs(b)) for a, b in combinations(patterns, 2)]


def draws(num_sites, count):
    rng, total = random.Random(0), SharingPattern.count(num_sites)
    return [
        SharingPattern.from_rank(rng.randrange(total), num_sites) for _ in range(count)
    ]


@pytest.mark.parametrize(("num_sites", "finished"), [(6, 0), (6, 20), (12, 20)])
def test_workers_at_once_try_different_things(num_sites, finished):
    study = study_of()

    def score(trial):
        pattern = suggest_pattern(trial, num_sites)
        return pattern.num_groups + pairs(pattern)[::2].sum()

    study.optimize(score, n_trials=finished)
    patterns = [suggest_pattern(study.ask(), num_sites) for _ in range(16)]
    assert len(set(patterns)) == 16
    drawn = draws(num_sites, 16)
    spread = statistics.mean(distances(patterns)) / statistics.mean(distances(drawn))
    assert spread > (0.35 if finished else 0.8)


def test_workers_that_ask_at_the_same_moment_try_different_things():
    study = study_of()
    study.optimize(objective, n_trials=12)
    # None has chosen when the last one asks.
    trials = [study.ask() for _ in range(4)]
    patterns = [suggest_pattern(trial, 6) for trial in reversed(trials)]
    assert len(set(patterns)) == 4
    assert statistics.mean(distances(patterns)) > 3


@pytest.mark.parametrize("start", [0, 12])
def test_threads_of_one_study(start):
    study = study_of()
    study.optimize(objective, n_trials=start)
    study.optimize(objective, n_trials=12, n_jobs=4)
    tried = [trial.params["sharing"] for trial in study.trials]
    assert len(tried) == start + 12
    assert len(set(tried)) >= len(tried) - 1  # a race may be lost


def test_constraints_are_learned():
    def limited(trial):
        pattern = suggest_pattern(trial, 6)
        trial.set_constraint("groups", pattern.num_groups - 3.0)
        return cost(pattern)

    def kept(trial):
        return SharingPattern(trial.user_attrs["sharing"]).num_groups <= 3

    study = study_of(SharingSampler(seed=0, sizes=["groups"]))
    study.optimize(limited, n_trials=24)
    assert sum(map(kept, study.trials[10:])) >= 13
    assert kept(study.best_trial)


def test_what_the_policy_is_told():
    study = study_of(directions=["minimize", "maximize"])
    study.optimize(lambda trial: (objective(trial), 1.0), n_trials=3)
    study.tell(study.ask(), state=TrialState.FAIL)  # knew nothing
    failed, lost, running = (study.ask() for _ in range(3))
    patterns = [suggest_pattern(trial, 6) for trial in (failed, lost, running)]
    study.tell(failed, state=TrialState.FAIL)
    study.tell(lost, [float("inf"), 1.0])
    problem = study.sampler.problem(study)
    observed = [o for o in problem.observations if o.point]
    assert [o.point["sharing"] for o in observed[3:]] == patterns
    assert [o.scores is None for o in observed] == [False] * 3 + [True] * 3
    assert [o.is_running for o in observed] == [False] * 5 + [True]
    assert [o.scores[1] for o in observed[:3]] == [-1.0] * 3
    assert problem.num_objectives == 2


def test_pruned_trials():
    def stopped(trial):
        trial.report(objective(trial), step=0)
        raise optuna.TrialPruned

    study = study_of()
    study.optimize(stopped, n_trials=3)
    observed = study.sampler.problem(study).observations
    assert all(o.is_pruned for o in observed)
    assert [o.scores for o in observed] == [tuple(t.values) for t in study.trials]
    assert study.sampler.recommended(study) is None


def test_an_earlier_search_is_learned_from():
    order = sorted(SharingPattern.all(6), key=cost)
    earlier = [
        Observation({"sharing": p}, (cost(p),), is_earlier=True) for p in draws(6, 40)
    ]
    study = study_of(SharingSampler(seed=0, earlier=earlier))
    study.optimize(objective, n_trials=4)
    tried = [SharingPattern(t.user_attrs["sharing"]) for t in study.trials]
    assert min(map(order.index, tried[1:])) < 6  # the first knew no parameter


def test_recommended_is_not_deceived_by_luck():
    study = study_of()
    study.optimize(objective, n_trials=30)
    best = study.best_trial
    assert study.sampler.recommended(study).number == best.number
    (worst,) = [t for t in study.trials if t.user_attrs["sharing"] == "ABCDEF"]
    trials = [
        optuna.trial.create_trial(
            params=t.params,
            distributions=t.distributions,
            user_attrs=t.user_attrs,
            value=best.value - 0.01 if t.number == worst.number else t.value,
        )
        for t in study.trials
    ]
    lucky = study_of(study.sampler)
    lucky.add_trials(trials)
    assert lucky.best_trial.user_attrs["sharing"] == "ABCDEF"
    found = lucky.sampler.recommended(lucky).user_attrs["sharing"]
    assert found == best.user_attrs["sharing"]


def test_a_proposal_is_quick_with_10_000_trials():
    study = study_of(SharingSampler(seed=0, sizes=[1]), directions=["minimize"] * 2)
    rng, patterns = random.Random(0), PatternSpace(48)
    names = numbering.ranges("sharing", patterns)
    for _ in range(10_000):
        trial = optuna.trial.create_trial(
            params={name: rng.randrange(most + 1) for name, most in names.items()},
            distributions={n: IntDistribution(0, most) for n, most in names.items()},
            user_attrs={"sharing.patterns": str(patterns)},
            values=[rng.random(), rng.random()],
        )
        study.add_trial(trial)
    started = time.process_time()
    suggest_pattern(study.ask(), 48)
    assert time.process_time() - started < 5  # two seconds of an idle core


def test_neither_keras_nor_kerastuner_is_loaded():
    code = (
        "import sys, optuna\n"
        "from keras_share.search import SharingSampler, suggest_pattern\n"
        "study = optuna.create_study(sampler=SharingSampler(seed=0))\n"
        "study.optimize(lambda t: suggest_pattern(t, 4).num_groups, n_trials=6)\n"
        "assert not {'keras', 'keras_tuner', 'tensorflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
