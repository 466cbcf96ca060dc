"""Tests of pruning: who is compared with whom, and that pruners of Optuna decide."""

import optuna
import pytest
from optuna.pruners import (
    HyperbandPruner,
    MedianPruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)
from optuna.trial import TrialState, create_trial

from keras_share.search.trial import objectives
from keras_share.search.trial.pruning import FairPruner, get

ONE = objectives.get("val_accuracy")
TWO = objectives.get(["val_accuracy", "exported_bytes"])


def test_get():
    assert get(None, ONE) is None
    assert get(None, ONE, executions_per_trial=3) is None
    assert isinstance(get("median", ONE).pruner, MedianPruner)
    assert isinstance(get("halving", TWO).pruner, SuccessiveHalvingPruner)
    pruner, fair = MedianPruner(), FairPruner(MedianPruner())
    assert get(pruner, ONE) is pruner
    assert get(pruner, TWO).pruner is pruner
    assert get(fair, TWO) is fair
    assert isinstance(get(HyperbandPruner(), ONE), HyperbandPruner)
    with pytest.raises(ValueError, match=r"any but Hyper.*Received: HyperbandPruner"):
        get(HyperbandPruner(), TWO)
    with pytest.raises(ValueError, match=r"'median', 'halving'.*pruning='asha'"):
        get("asha", ONE)
    with pytest.raises(ValueError, match=r"set executions_per_trial=1\. Received"):
        get("median", ONE, executions_per_trial=2)


def trial(values, size=None, planned=3, state=TrialState.RUNNING, scores=(0.0, 0.0)):
    return create_trial(
        state=state,
        values=list(scores) if state == TrialState.COMPLETE else None,
        intermediate_values=dict(enumerate(values)),
        user_attrs={"planned_epochs": planned}
        | ({} if size is None else {"exported_bytes": size}),
    )


class Seeing(optuna.pruners.BasePruner):
    """Stops nothing and keeps what it was asked."""

    def prune(self, study, trial):
        self.seen = [one.intermediate_values for one in study.get_trials()]
        self.ended = study.get_trials(states=(TrialState.COMPLETE,))
        self.direction = study.direction
        return False


def test_who_is_compared_with_whom():
    done, pruned = TrialState.COMPLETE, TrialState.PRUNED
    seeing = Seeing()
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.set_metric_names([*TWO])
    study.add_trials(
        [
            trial([0.5, 0.6, 0.7], 100, state=done),
            trial([0.9], 300, state=pruned),
            trial([0.4, 0.2], 200),
            trial([0.1], 200),
            trial([0.8], 100, planned=9),
            trial([0.8]),
            trial([0.8], 100, state=TrialState.FAIL),
        ]
    )
    assert FairPruner(seeing).prune(study, study.trials[3]) is False
    # No larger models, of as many epochs, whose size is known; and its own.
    assert seeing.seen == [{0: 0.5, 1: 0.6, 2: 0.7}, {0: 0.4, 1: 0.2}, {0: 0.1}]
    assert [one.number for one in seeing.ended] == [0]
    assert seeing.direction.name == "MAXIMIZE"


@pytest.mark.parametrize(
    "pruner",
    [
        MedianPruner(n_startup_trials=1),
        SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        ThresholdPruner(lower=0.5),
    ],
    ids=lambda pruner: type(pruner).__name__,
)
@pytest.mark.parametrize("size", [90, 200])
def test_pruners_judge_several_objectives(pruner, size):
    """A worse trial is stopped, unless only larger models are better."""
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(directions=["maximize", "minimize"], storage=storage)
    study.set_metric_names([*TWO])
    fair, stopped = FairPruner(pruner), []
    for score, bytes_ in ((0.9, 100), (0.1, size)):
        asked = study.ask()
        asked.set_user_attr("exported_bytes", bytes_)
        for epoch in range(3):
            # Optuna's own `report` is for one objective.
            storage.set_trial_intermediate_value(asked.number, epoch, score)
            stopped.append(fair.prune(study, study.trials[-1]))
        study.tell(asked, [score, bytes_])
    assert not any(stopped[:3])
    is_absolute = isinstance(pruner, ThresholdPruner)
    assert any(stopped[3:]) is (size == 200 or is_absolute)


@pytest.mark.parametrize("name", ["median", "halving"])
def test_a_study_without_us_can_have_the_rules(name):
    study = optuna.create_study(direction="maximize", pruner=get(name, ONE))

    def objective(asked):
        for epoch in range(3):
            asked.report(-asked.number, epoch)
            if asked.should_prune():
                raise optuna.TrialPruned
        return -asked.number

    study.optimize(objective, n_trials=8)
    assert {t.state for t in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
