"""Pruning: a trial that is hopeless after few epochs is stopped.

The rules are pruners of Optuna's, of which each knows one objective. `FairPruner` lets
them judge trials of several.
"""

from collections.abc import Callable, Collection
from typing import Any

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.trial import FrozenTrial, TrialState

from keras_share.search.trial.objectives import objectives_of

PLANNED = "planned_epochs"  # the attribute that says for how long a trial is to train

_NAMED: dict[str, Callable[[], BasePruner]] = {
    "median": MedianPruner,
    "halving": lambda: SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
}
# They ask a study for more than what `_FairStudy` has.
_OF_ONE_OBJECTIVE = HyperbandPruner, WilcoxonPruner


class FairPruner(BasePruner):
    """Lets a pruner of Optuna judge a trial among those it can fairly be compared with.

    These are to train for as many epochs. Of several objectives the first is judged,
    among the trials that are no worse in the others: a small model is not stopped
    because larger ones are more accurate. How long trials are to train is the attribute
    `"planned_epochs"`, and their other objectives are attributes by their names;
    `SharingSearch` sets both.

    Args:
        pruner: A pruner of `optuna.pruners`, such as `MedianPruner`.

    Raises:
        ValueError: If it is none, or is `HyperbandPruner` or `WilcoxonPruner`, which
            judge studies of one objective only.

    Example:
    ```python
    pruning = FairPruner(optuna.pruners.MedianPruner(n_startup_trials=10))
    tuner = SharingSearch(build, ["val_accuracy", "exported_bytes"], pruning=pruning)
    ```
    """

    def __init__(self, pruner: BasePruner):
        if not isinstance(pruner, BasePruner) or isinstance(pruner, _OF_ONE_OBJECTIVE):
            raise ValueError(
                "`pruner` must be a pruner of optuna.pruners that can judge trials of "
                "several objectives: any but HyperbandPruner and WilcoxonPruner. "
                f"Received: {type(pruner).__name__}"
            )
        self.pruner = pruner

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether to stop a trial, as `Study` asks it."""
        compared: Any = _FairStudy(study, trial)
        return self.pruner.prune(compared, trial)


class _FairStudy:
    """A study as if it had one objective, and but for a trial only those like it."""

    def __init__(self, study: optuna.Study, trial: FrozenTrial):
        self._study = study
        self._own = trial
        self._others = [*objectives_of(study).items()][1:]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    @property
    def direction(self) -> Any:
        return self._study.directions[0]

    def get_trials(
        self, deepcopy: bool = True, states: Collection[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = self._study.get_trials(deepcopy, states and tuple(states))
        return [one for one in found if self._is_comparable(one)]

    def _is_comparable(self, trial: FrozenTrial) -> bool:
        if trial.number == self._own.number:
            return True
        planned = self._own.user_attrs.get(PLANNED)
        return (
            trial.state != TrialState.FAIL
            and trial.user_attrs.get(PLANNED) == planned
            and all(_no_worse(*other, trial, self._own) for other in self._others)
        )


def get(
    pruning: Any, objectives: Collection[str], executions_per_trial: int = 1
) -> BasePruner | None:
    """Reads the argument `pruning=` of a tuner.

    Raises:
        ValueError: If it is nothing that judges trials of such objectives.
    """
    if pruning is None:
        return None
    if executions_per_trial != 1:
        raise ValueError(
            "`pruning` compares trials of one execution; the average over several is "
            "known only when the last one trains. Leave out `pruning`, or set "
            f"executions_per_trial=1. Received: pruning={pruning!r} with "
            f"executions_per_trial={executions_per_trial}"
        )
    if pruning in ("median", "halving"):
        return FairPruner(_NAMED[pruning]())
    if not isinstance(pruning, BasePruner):
        raise ValueError(
            "`pruning` must be 'median', 'halving', a pruner of optuna.pruners, or "
            f"None to stop no trial. Received: pruning={pruning!r}"
        )
    is_ready = len(objectives) == 1 or isinstance(pruning, FairPruner)
    return pruning if is_ready else FairPruner(pruning)


def _no_worse(name: str, direction: str, a: FrozenTrial, b: FrozenTrial) -> bool:
    # What was not measured is not compared.
    first, second = (one.user_attrs.get(name) for one in (a, b))
    if first is None or second is None:
        return False
    return first >= second if direction == "max" else first <= second
