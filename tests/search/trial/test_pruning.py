"""Tests of the rules of pruning."""

import itertools

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from keras_share.search.trial import objectives
from keras_share.search.trial.pruning import (
    Curve,
    MedianStopping,
    PruningRule,
    SuccessiveHalving,
    get,
)


@pytest.mark.parametrize("factor", [2, 3])
def test_halving_keeps_the_best_of_those_who_came_so_far(factor):
    rule = SuccessiveHalving(factor, min_epochs=2)
    for order in itertools.permutations(range(6)):
        curves = [Curve({2: float(value)}) for value in order]
        for count in range(1, 7):
            mine, others = curves[count - 1], curves[: count - 1]
            rank = sorted(order[:count], reverse=True).index(order[count - 1])
            goes_on = count < factor or rank < count // factor
            assert rule.stops(mine, others) is not goes_on
    rungs = [
        epochs
        for epochs in range(1, 20)
        if rule.stops(
            Curve({e: 0.0 for e in range(1, epochs + 1)}),
            [Curve(dict.fromkeys(range(1, 20), 1.0))] * 6,
        )
    ]
    assert rungs == {2: [2, 4, 8, 16], 3: [2, 6, 18]}[factor]


def test_median_of_running_averages_equals_numpy():
    rng = np.random.default_rng(0)
    for _ in range(200):
        others = rng.normal(size=(rng.integers(1, 7), 4))
        mine = rng.normal(size=rng.integers(1, 5))
        epochs = len(mine)
        rule = MedianStopping(warmup_trials=int(rng.integers(1, 4)))
        wanted = len(others) >= rule.warmup_trials and mine.max() < np.median(
            others[:, :epochs].mean(axis=1)
        )

        def curve(values, ended=True):
            return Curve(dict(enumerate(values.tolist(), 1)), ended)

        running = [curve(mine + 100, ended=False), curve(mine[:-1] + 100)]
        found = rule.stops(curve(mine, False), [*map(curve, others), *running])
        assert found == wanted
        late = MedianStopping(rule.warmup_trials, warmup_epochs=epochs + 1)
        assert not late.stops(curve(mine, False), list(map(curve, others)))


def test_get():
    one = objectives.get("val_loss")
    assert get(None, one) is None
    assert get(None, one, executions_per_trial=3) is None
    assert get("median", one) == MedianStopping(5, 1)
    assert get("halving", one) == SuccessiveHalving(3, 1)

    class Never(PruningRule):
        def stops(self, curve, others):
            return False

    rule = Never()
    assert get(rule, one) is rule
    pruner = optuna.pruners.HyperbandPruner()
    assert get(pruner, one) is pruner
    two = objectives.get(["val_loss", "exported_bytes"])
    with pytest.raises(ValueError, match=r"judges one objective.*HyperbandPruner for"):
        get(pruner, two)
    with pytest.raises(ValueError, match=r"'median', 'halving'.*pruning='asha'"):
        get("asha", one)
    with pytest.raises(ValueError, match=r"set executions_per_trial=1\. Received"):
        get("median", one, executions_per_trial=2)


@pytest.mark.parametrize(
    ("cls", "name", "value", "least"),
    [
        (MedianStopping, "warmup_trials", 0, 1),
        (MedianStopping, "warmup_epochs", 1.5, 1),
        (SuccessiveHalving, "factor", 1, 2),
        (SuccessiveHalving, "min_epochs", True, 1),
    ],
)
def test_bad_numbers(cls, name, value, least):
    message = f"`{name}` must be an integer of at least {least}.*{name}={value}"
    with pytest.raises(ValueError, match=message):
        cls(**{name: value})


def trial(values, size=None, planned=3, state=TrialState.RUNNING, scores=(0.0, 0.0)):
    return create_trial(
        state=state,
        values=list(scores) if state == TrialState.COMPLETE else None,
        intermediate_values=dict(enumerate(values)),
        user_attrs={"planned_epochs": planned}
        | ({} if size is None else {"exported_bytes": size}),
    )


class Seeing(PruningRule):
    """Stops nothing and keeps what it was asked."""

    def stops(self, curve, others):
        self.seen = curve, others
        return False


def test_who_is_compared_with_whom():
    done, pruned = TrialState.COMPLETE, TrialState.PRUNED
    rule = Seeing()
    study = optuna.create_study(directions=["maximize", "minimize"], pruner=rule)
    study.set_metric_names(["val_accuracy", "exported_bytes"])
    study.add_trials(
        [
            trial([0.5, 0.6, 0.7], 100, state=done),
            trial([0.9], 300, state=pruned),
            trial([0.4, 0.2], 200),
            trial([0.1, float("nan")], 200),
            trial([0.8], 100, planned=9),
            trial([0.8]),
            trial([0.8], 100, state=TrialState.FAIL),
        ]
    )
    assert rule.prune(study, study.trials[3]) is False
    # No larger models, of as many epochs, whose size is known.
    assert rule.seen == (
        Curve({1: 0.1, 2: -np.inf}),
        [Curve({1: 0.5, 2: 0.6, 3: 0.7}, ended=True), Curve({1: 0.4, 2: 0.2})],
    )
    one = optuna.create_study(direction="minimize")
    one.add_trials([trial([0.5], state=done, scores=[0.0]), trial([0.1]), trial([0.9])])
    rule.prune(one, one.trials[1])
    own, rivals = rule.seen
    assert own == Curve({1: -0.1})
    assert [curve.ended for curve in rivals] == [True, False]


@pytest.mark.parametrize("rule", [MedianStopping(2), SuccessiveHalving()])
def test_a_study_without_us_can_have_the_rules(rule):
    study = optuna.create_study(direction="maximize", pruner=rule)

    def objective(asked):
        for epoch in range(3):
            asked.report(-asked.number, epoch)
            if asked.should_prune():
                raise optuna.TrialPruned
        return -asked.number

    study.optimize(objective, n_trials=6)
    assert {t.state for t in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
