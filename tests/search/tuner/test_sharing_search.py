"""`SharingSearch`: the tuner and the oracle around the policies."""

import keras
import keras_tuner as kt
import numpy as np
import pytest
from quick_search import ALL, DATA, Untrained, build, patterns, quick, size

from keras_share import SharingPattern
from keras_share.search import (
    SharingOracle,
    SharingSearch,
    TrialRejected,
    sharing_pattern,
)
from keras_share.search.policies import POLICIES, SurrogatePolicy

BOTH = ["val_accuracy", "exported_bytes"]


def cost(pattern):
    """Best is AABB: sites 0 and 1, and 2 and 3, like to share, others don't."""
    likes = {(0, 1), (2, 3)}
    return sum(
        (1 if (a, b) in likes else -1) * (pattern.labels[a] == pattern.labels[b])
        for b in range(4)
        for a in range(b)
    )


def test_one_line_makes_a_stock_search_ours(tmp_path):
    arguments = {"max_trials": 3, "seed": 1, "directory": tmp_path}
    tuner = kt.RandomSearch(build, "val_accuracy", project_name="stock", **arguments)
    tuner.search(**DATA, epochs=1, verbose=0)
    tuner = SharingSearch(build, "val_accuracy", project_name="ours", **arguments)
    tuner.search(**DATA, epochs=1, verbose=0)
    assert len(tuner.get_best_models(2)) == 2
    assert tuner.get_best_hyperparameters()[0].get("sharing") is not None
    assert tuner.leaderboard()["exported_bytes"].notna().all()


@pytest.mark.parametrize("policy", POLICIES)
def test_every_pattern_once(policy, tmp_path):
    tuner = quick(SharingSearch, tmp_path, max_trials=30, policy=policy)
    tuner.search(verbose=0)
    assert sorted(patterns(tuner)) == ALL


@pytest.mark.parametrize("policy", POLICIES)
def test_interrupted_search_goes_on_with_the_same_trials(policy, tmp_path):
    whole = quick(SharingSearch, tmp_path / "whole", max_trials=13, policy=policy)
    whole.search(verbose=0)

    class Interrupted(Untrained):
        def fit(self, hp, model, callbacks):
            if self.fits == 10:
                raise KeyboardInterrupt
            return super().fit(hp, model, callbacks)

    part = quick(
        SharingSearch, tmp_path / "part", Interrupted(), max_trials=13, policy=policy
    )
    with pytest.raises(KeyboardInterrupt):
        part.search(verbose=0)
    rest = quick(
        *(SharingSearch, tmp_path / "part"),
        **{"max_trials": 13, "policy": policy, "on_change": "continue"},
    )
    rest.search(verbose=0)
    assert patterns(rest) == patterns(whole)


def test_more_trials_go_on_as_if_asked_for_at_once(tmp_path):
    quick(SharingSearch, tmp_path / "part", max_trials=9).search(verbose=0)
    part = quick(SharingSearch, tmp_path / "part", max_trials=12)
    part.search(verbose=0)
    whole = quick(SharingSearch, tmp_path / "whole", max_trials=12)
    whole.search(verbose=0)
    assert patterns(part) == patterns(whole)


def test_several_objectives(tmp_path):
    tuner = SharingSearch(
        Untrained(lambda pattern: cost(pattern) / 10),
        BOTH,
        **{"max_trials": 13, "seed": 1, "directory": tmp_path, "export": None},
        measure=lambda model: {"exported_bytes": 100 * model.count_params()},
    )
    tuner.search(verbose=0)
    assert list(tuner.results.objectives) == BOTH
    problem = tuner.oracle.problem()
    assert problem.scores().shape == (13, 2)
    for row, observation in zip(
        tuner.results.records, problem.observations, strict=True
    ):
        assert observation.point == {"sharing": SharingPattern(row.pattern)}
        size = row.measures["exported_bytes"]
        assert observation.scores == (pytest.approx(-row.score), size)
    front = tuner.pareto_front()
    assert set(BOTH) <= set(front)
    assert front["pattern"].tolist()[-1] == "AABB"


def test_too_large_is_rejected_before_training(tmp_path, capsys):
    class Small(Untrained):
        def fit(self, hp, model, callbacks):
            assert self.pattern.num_groups <= 2
            return super().fit(hp, model, callbacks)

    tuner = quick(
        *(SharingSearch, tmp_path, Small()),
        measure=lambda m: {"exported_bytes": 500 * m.count_params()},
        max_bytes=2000,
        max_trials=6,
    )
    tuner.search(verbose=0)
    board = tuner.leaderboard().set_index("pattern")
    done = board[board.status == "COMPLETED"]
    assert len(done) == 6
    assert (done.exported_bytes <= 2000).all()
    rejected = board[board.status == "REJECTED"]
    assert (rejected.exported_bytes > 2000).all()
    assert rejected.message.str.contains("exported_bytes 3000 is over 2000").any()
    assert "Traceback" not in capsys.readouterr().err
    # The oracle knows the sizes of those that it lost.
    measures = [o.measures for o in tuner.oracle.problem().observations]
    assert all(m["exported_bytes"] > 0 for m in measures)


def test_all_is_too_large(tmp_path):
    for _ in range(2):  # and again when it goes on
        tuner = quick(
            *(SharingSearch, tmp_path),
            measure=lambda m: {"exported_bytes": m.count_params()},
            max_bytes=1,
            max_trials=3,
        )
        with pytest.raises(
            RuntimeError,
            match=r"15 trials in a row were rejected, trial \d+ with: exported_bytes "
            r"\d is over 1\n(.|\n)*Loosen the budget",
        ):
            tuner.search(verbose=0)
        assert len(tuner.results) == 15


def test_own_rejection(tmp_path):
    def measure(model):
        if model.count_params() > 4:
            raise TrialRejected("too wide")
        return {}

    tuner = quick(SharingSearch, tmp_path, measure=measure, max_trials=4)
    tuner.search(verbose=0)
    assert set(tuner.leaderboard()["status"]) <= {"COMPLETED", "REJECTED"}
    assert (tuner.leaderboard()["status"] == "COMPLETED").sum() == 4


def test_sizes_are_learned_so_that_few_are_rejected(tmp_path):
    def build(hp):
        pattern = sharing_pattern(hp, 6)
        inputs = keras.Input((1,))
        return keras.Model(inputs, keras.layers.Dense(pattern.num_groups)(inputs))

    class Six(Untrained):
        def build(self, hp):
            self.pattern = sharing_pattern(hp, 6)
            return build(hp)

    tuner = quick(
        *(SharingSearch, tmp_path, Six()),
        measure=lambda m: {"exported_bytes": 500 * m.count_params()},
        max_bytes=3000,
        max_trials=16,
    )
    tuner.search(verbose=0)
    late = tuner.results.records[-6:]
    assert [row.status for row in late] == ["COMPLETED"] * 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_bytes": 0}, r"must be positive numbers.*max_bytes=0"),
        ({"max_latency": "1 ms"}, r"must be positive numbers.*max_latency=.1 ms"),
        ({"policy": "best"}, "`policy` must be one of 'surrogate', 'evolution'"),
        ({"inherit": 3}, "must be a Keras model or the path"),
        ({"inherit": "no.keras"}, "must be an existing `.keras` file"),
        ({"pruning": "sometimes"}, "`pruning` must be 'median', 'halving'"),
        ({"export": "dynamic"}, "`export` must be a dictionary.*'dynamic'"),
        ({"measure": 3}, "`measure` must be a function.*Received: measure=3"),
        ({"max_trails": 3}, "max_trails"),
        ({"on_change": "ask"}, "`on_change` must be 'refuse' or 'continue'"),
        ({"keep_checkpoints": -1}, "`keep_checkpoints` must be at least 0.*Rec"),
        ({"storage": 3}, "`storage` must be None for a file.* of type int"),
        ({"policy": ["random"]}, "`policy` must be one of .* policy=\\['random'\\]"),
        ({"earlier": "no.csv"}, "`earlier` must be the folder of a search"),
        ({"max_trials": 0}, "`max_trials` must be an integer of at least 1, .*: max"),
        ({"max_trials": "3"}, "`max_trials` must be an integer of at least 1"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        tuner = quick(SharingSearch, tmp_path, **arguments)
        tuner.search(verbose=0)


def test_limit_on_what_is_not_measured(tmp_path, capsys):
    tuner = quick(SharingSearch, tmp_path, max_bytes=100, max_trials=3)
    with pytest.raises(RuntimeError, match="limit can only be set on what is measured"):
        tuner.search(verbose=0)


@pytest.mark.parametrize("other", ["exported_bytes", "val_recall"])
def test_objective_that_is_never_known(other, tmp_path):
    tuner = SharingSearch(
        *(Untrained(), ["val_accuracy", other]),
        **{"max_trials": 3, "directory": tmp_path, "export": None},
    )
    with pytest.raises(
        kt.errors.FatalValueError,
        match=rf"Each objective must be a metric of `fit`.*no \['{other}'\] among",
    ):
        tuner.search(verbose=0)


def test_search_over_huge_numbers(tmp_path):
    class Seeded(Untrained):
        def build(self, hp):
            hp.Int("seed", 0, 2**50)
            return super().build(hp)

    tuner = quick(SharingSearch, tmp_path, Seeded(), max_trials=9)
    tuner.search(verbose=0)
    assert len(tuner.results) == 9


def test_an_oracle_for_any_tuner(tmp_path):
    oracle = SharingOracle("val_accuracy", max_trials=10, seed=1)
    tuner = kt.Tuner(
        oracle, Untrained(lambda p: cost(p) / 10), directory=tmp_path, project_name="a"
    )
    tuner.search()
    assert len(tuner.oracle.trials) == 10
    best = tuner.oracle.get_best_trials()[0]
    assert best.score == max(t.score for t in tuner.oracle.trials.values())


def test_recommended_is_not_the_lucky_one(tmp_path):
    rng = np.random.default_rng(0)
    noise = {pattern: rng.normal(scale=0.15) for pattern in ALL}
    noise["ABBA"] = 0.65  # far from what its neighbors say

    tuner = quick(
        *(SharingSearch, tmp_path),
        Untrained(lambda p: cost(p) / 4 + noise[str(p)]),
        max_trials=15,
        policy=SurrogatePolicy(num_initial_points=4),
    )
    tuner.search(verbose=0)
    patterns = tuner.recommended().hyperparameters.values
    found = tuner.oracle.problem().space.read(patterns)["sharing"]
    assert cost(found) >= 1


def test_recommended_without_a_trial(tmp_path):
    assert quick(SharingSearch, tmp_path).recommended() is None


def test_there_is_no_chief(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "localhost")
    with pytest.raises(ValueError, match=r"same script on each machine.*ORACLE_IP"):
        quick(SharingSearch, tmp_path)


def test_pruned_trials_are_known_as_such(tmp_path):
    class Curves(kt.HyperModel):
        def build(self, hp):
            self.pattern = sharing_pattern(hp, 4)
            return build(hp)

    tuner = SharingSearch(
        Curves(),
        "val_accuracy",
        pruning="halving",
        **{"max_trials": 8, "seed": 1, "directory": tmp_path, "measure": size},
        export=None,
    )
    tuner.search(**DATA, epochs=4, verbose=0)
    board = tuner.leaderboard()
    assert set(board["status"]) == {"COMPLETED", "PRUNED"}
    assert board["exported_bytes"].notna().all()
    pruned = board[board["status"] == "PRUNED"]
    assert pruned["message"].str.contains("pruned after epoch").all()
    observed = tuner.oracle.problem().observations
    assert sum(o.is_pruned for o in observed) == len(pruned)
    assert all(o.scores is not None for o in observed)


def test_trials_start_from_the_donor(tmp_path):
    def stack(hp):
        import keras_share

        pattern = sharing_pattern(hp, 4)
        block = keras.layers.Dense(4, name="block")
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras_share.SharedStack(block, pattern, name="stack"),
                keras.layers.Dense(2, name="head"),
            ]
        )
        model.compile("sgd", "mse", metrics=["mae"], run_eagerly=True)
        return model

    hp = kt.HyperParameters()
    hp.values = {"sharing": 14}
    donor = stack(hp)
    donor.save(tmp_path / "donor.keras")
    sources = [np.array(b.kernel) for b in donor.get_layer("stack").blocks]
    inherited = []

    class Model(kt.HyperModel):
        def build(self, hp):
            return stack(hp)

        def fit(self, hp, model, callbacks):
            stack = model.get_layer("stack")
            for block, group in zip(stack.blocks, stack.pattern.groups, strict=True):
                mean = np.mean([sources[site] for site in group], axis=0)
                inherited.append(np.allclose(block.kernel, mean, atol=1e-6))
            heads = [m.get_layer("head").kernel for m in (model, donor)]
            inherited.append(np.array_equal(*heads))
            return {"val_loss": 1.0}

    tuner = SharingSearch(
        *(Model(), "val_loss"),
        inherit=tmp_path / "donor.keras",
        **{"max_trials": 3, "seed": 1, "directory": tmp_path, "export": None},
    )
    tuner.search(verbose=0)
    assert set(tuner.leaderboard()["status"]) == {"COMPLETED"}
    assert len(inherited) > 6 and all(inherited)
