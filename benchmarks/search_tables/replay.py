"""Search methods run on a table instead of trainings: the same oracles, no models."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras_tuner as kt
import numpy as np
from keras_tuner.engine.base_tuner import BaseTuner

from keras_share import SharingPattern
from keras_share.search import SharingOracle
from keras_share.search.pareto import hypervolume

from .encodings import ENCODINGS, Encoding
from .tables import Table

ACCURACY, BYTES, WEIGHTED = "val_accuracy", "exported_bytes", "weighted"


@dataclass(frozen=True)
class Method:
    """A way to search.

    Args:
        name: As it stands in tables.
        oracle: Makes the oracle from its arguments.
        objective: What it is given; KerasTuner's own optimizers know only one number.
        encoding: How the pattern becomes hyperparameters.
        seed_step: What lies between the seeds of two searches. KerasTuner's draws of
            neighboring seeds are the same, one trial later.
    """

    name: str
    oracle: Callable[..., kt.Oracle]
    objective: Any
    encoding: Encoding = ENCODINGS["rank"]
    seed_step: int = 1000


@dataclass(frozen=True)
class Replay:
    """What one search of a table found.

    Args:
        tried: The pattern of each trial.
        scores: The accuracy that each trial saw.
        handed_over: After each trial, the pattern that the method would hand over.
    """

    tried: list[SharingPattern]
    scores: list[float]
    handed_over: list[SharingPattern]

    def best_ranks(self, table: Table) -> np.ndarray:
        """The true rank of the best pattern tried so far, after each trial."""
        return np.minimum.accumulate([table.rank(p) for p in self.tried])

    def handed_ranks(self, table: Table) -> np.ndarray:
        """The true rank of the pattern that would be handed over, after each trial."""
        return np.array([table.rank(p) for p in self.handed_over])

    def hypervolumes(self, table: Table) -> np.ndarray:
        """The true hypervolume after each trial, as a share of the best there is."""
        points = [true_point(table, p) for p in self.tried]
        reference, whole = extent(table)
        return (
            np.array(
                [hypervolume(points[: n + 1], reference) for n in range(len(points))]
            )
            / whole
        )


def run(method: Method, table: Table, seed: int, trials: int) -> Replay:
    """One search with the trials of a table."""
    rng = np.random.default_rng(seed)
    tried: list[SharingPattern] = []
    scores: list[float] = []
    handed: list[SharingPattern] = []
    largest = max(table.bytes(SharingPattern(p)) for p in table.truth.index)

    class Tuner(BaseTuner):
        def run_trial(
            self, trial: kt.engine.trial.Trial, verbose: int
        ) -> dict[str, float]:
            pattern = method.encoding(trial.hyperparameters)
            score = table.draw(pattern, rng)
            tried.append(pattern)
            scores.append(score)
            size = table.bytes(pattern)
            weighted = score - size / largest
            return {ACCURACY: score, BYTES: size, WEIGHTED: weighted}

        def on_trial_end(self, trial: kt.engine.trial.Trial) -> None:
            super().on_trial_end(trial)
            handed.append(self._handed_over())

        def _handed_over(self) -> SharingPattern:
            if isinstance(self.oracle, SharingOracle):
                best = self.oracle.recommended()
            else:
                (best,) = self.oracle.get_best_trials(1)
            return method.encoding(best.hyperparameters)

    hp = kt.HyperParameters()
    method.encoding(hp)
    with tempfile.TemporaryDirectory() as folder:
        oracle = method.oracle(
            objective=method.objective,
            max_trials=trials,
            hyperparameters=hp,
            seed=1 + seed * method.seed_step,  # 0 would be a random one
        )
        Tuner(oracle, directory=folder, project_name="replay").search(verbose=0)
    return Replay(tried, scores, handed)


def true_point(table: Table, pattern: SharingPattern) -> tuple[float, float]:
    """Error and size of a pattern, less is better."""
    return 1 - table.truth[str(pattern)], table.bytes(pattern)


def extent(table: Table) -> tuple[np.ndarray, float]:
    """The worst error and size in a table, and the hypervolume of all patterns."""
    points = np.array([true_point(table, SharingPattern(p)) for p in table.truth.index])
    reference = points.max(axis=0) * 1.001
    return reference, hypervolume(points, reference)
