"""KerasTuner's oracles, made to try every set of values at most once."""

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any

import keras_tuner as kt
import numpy as np

from keras_share.search.engine import HyperParameter, TrialStatus
from keras_share.search.tuner.durable import Durable
from keras_share.search.tuner.pruned import Pruned

Values = dict[str, Any]

# So many draws miss the last untried tenth of a space less than once in 30,000
# searches; what they miss is found by going through the space in order.
_DRAWS = 100


class _Untried(kt.Oracle):
    """Mixin for an oracle: proposes only values that no earlier trial has."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        response = super().populate_space(trial_id)
        if response["status"] == TrialStatus.IDLE:
            return response
        # "STOPPED" too: stock oracles give up after 20 draws of tried values,
        # which in a small space leaves some untried.
        tried = self._tried()
        values = response.get("values")
        if values is None or _key(values) in tried:
            space = self.hyperparameters.space
            proposals = itertools.chain(
                # A seed of its own for each draw, rather than a running state, lets
                # a resumed search go on as if it had not been interrupted.
                (
                    _draw(space, f"{self.seed}/{trial_id}/{attempt}")
                    for attempt in range(_DRAWS)
                ),
                _grid(space),
            )
            values = next((v for v in proposals if _key(v) not in tried), None)
        return _response(values)

    def _tried(self) -> set[frozenset]:
        return {_key(t.hyperparameters.values) for t in self.trials.values()}


class RandomSearchOracle(Pruned, Durable, _Untried, kt.oracles.RandomSearchOracle):
    """Random search that finds every value of a finite space before it stops."""


class BayesianOptimizationOracle(
    Pruned, Durable, _Untried, kt.oracles.BayesianOptimizationOracle
):
    """Bayesian optimization with a random draw where the proposal was tried."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Proposes values that depend on the seed and the earlier trials alone."""
        # KerasTuner does not save its random state, which is private to it.
        self._random_state = np.random.RandomState([self.seed, int(trial_id)])
        return super().populate_space(trial_id)


class GridSearchOracle(Pruned, Durable, _Untried, kt.oracles.GridSearchOracle):
    """Grid search that goes on after a restart.

    KerasTuner keeps its place in the grid in memory only. The place is the first
    values without a trial, so nothing needs to be kept.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Proposes the first values of the grid that no trial has."""
        tried = self._tried()
        grid = _grid(self.hyperparameters.space)
        values = next((v for v in grid if _key(v) not in tried), None)
        if values is None and self.ongoing_trials:
            # A running trial may still bring new hyperparameters.
            return {"status": TrialStatus.IDLE, "values": None}
        return _response(values)


class HyperbandOracle(Durable, kt.oracles.HyperbandOracle):
    """Hyperband that goes on after a restart."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the brackets, without trials that have to be made anew."""
        super().set_state(state)
        for bracket in self._brackets:
            bracket["rounds"] = [
                [place for place in places if place["id"] in self.trials]
                for places in bracket["rounds"]
            ]


def _response(values: Values | None) -> dict[str, Any]:
    status = TrialStatus.STOPPED if values is None else TrialStatus.RUNNING
    return {"status": status, "values": values}


def _key(values: Values) -> frozenset:
    # What a pattern's index means is the same in every trial; older ones lack it.
    return frozenset(v for v in values.items() if not v[0].endswith(".patterns"))


def _is_active(parameter: HyperParameter, values: Values) -> bool:
    return all(condition.is_active(values) for condition in parameter.conditions)


def _draw(space: Sequence[HyperParameter], seed: str) -> Values:
    """Random values of the active hyperparameters."""
    rng = random.Random(seed)
    values: Values = {}
    for parameter in space:  # parents come before their children
        if _is_active(parameter, values):
            values[parameter.name] = parameter.random_sample(rng.random())
    return values


def _grid(space: Sequence[HyperParameter], values: Values | None = None) -> Iterator:
    """All values of the active hyperparameters, defaults first, the last fastest."""
    values = values or {}
    if not space:
        yield values
        return
    parameter, rest = space[0], space[1:]
    if not _is_active(parameter, values):
        yield from _grid(rest, values)
        return
    default = parameter.default
    others = (value for value in parameter.values if value != default)
    for value in itertools.chain([default], others):
        yield from _grid(rest, {**values, parameter.name: value})
