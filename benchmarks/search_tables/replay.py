"""Search methods run on a table instead of trainings: the same engines, no models."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras_tuner as kt
import numpy as np
import optuna
from keras_tuner.engine.base_tuner import BaseTuner

from keras_share import SharingPattern
from keras_share.search import SharingSampler
from keras_share.search.pareto import hypervolume

from .encodings import Encoding
from .synthetic import Synthetic
from .tables import Table

ACCURACY, WEIGHTED = "val_accuracy", "weighted"
# Where what would be handed over is looked at.
MARKS = (10, 25, 50, 100)

Task = Table | Synthetic


@dataclass
class Replay:
    """A search of a task: what it tried and saw, and what it would hand over.

    Args:
        task: The task.
        seed: Of what the trials see.
    """

    task: Task
    seed: int
    tried: list[SharingPattern] = field(default_factory=list)
    handed_over: dict[int, SharingPattern] = field(default_factory=dict)

    def __post_init__(self):
        self._rng = np.random.default_rng(self.seed)

    def trial(self, pattern: SharingPattern) -> tuple[float, float]:
        """The accuracy that a trial sees, and its size."""
        self.tried.append(pattern)
        return self.task.draw(pattern, self._rng), self.task.point(pattern)[1]

    def after(self, hand_over: Callable[[], SharingPattern]) -> None:
        """To be called after each trial."""
        if len(self.tried) in MARKS:
            self.handed_over[len(self.tried)] = hand_over()

    def best_ranks(self) -> np.ndarray:
        """The true rank of the best pattern tried so far, after each trial."""
        return np.minimum.accumulate([self.task.rank(p) for p in self.tried])

    def handed_ranks(self) -> np.ndarray:
        """The true rank of the pattern that would be handed over, at the marks."""
        handed = self.handed_over
        return np.array(
            [
                self.task.rank(handed[n]) if n in handed else np.nan
                for n in range(1, len(self.tried) + 1)
            ]
        )

    def hypervolumes(self) -> np.ndarray:
        """The true hypervolume after each trial, as a share of the best there is."""
        points = [self.task.point(p) for p in self.tried]
        worst, whole = self.task.extent
        reached = [hypervolume(points[: n + 1], worst) for n in range(len(points))]
        return np.array(reached) / whole


# Runs so many trials with a seed.
Method = Callable[[Replay, int], None]


def with_optuna(
    sampler: Callable[[int], optuna.samplers.BaseSampler],
    encoding: Encoding,
    both: bool,
) -> Method:
    """A search by a study, for accuracy or for accuracy and size."""

    def search(replay: Replay, trials: int) -> None:
        directions = ["maximize", "minimize"][: 1 + both]
        study = optuna.create_study(
            directions=directions, sampler=sampler(1 + replay.seed)
        )

        def hand_over() -> SharingPattern:
            if isinstance(study.sampler, SharingSampler):
                best = study.sampler.recommended(study)
            else:
                best = max(study.trials, key=lambda trial: trial.values[0])
            return replay.tried[best.number]

        for _ in range(trials):
            trial = study.ask()
            found = replay.trial(encoding(trial, replay.task.num_sites))
            study.tell(trial, found[: 1 + both])
            replay.after(hand_over)

    return search


def with_keras_tuner(
    oracle: Callable[..., kt.Oracle], encoding: Encoding, both: bool
) -> Method:
    """A search by an oracle, for accuracy or for accuracy less size."""

    def search(replay: Replay, trials: int) -> None:
        largest = replay.task.extent[0][1]

        class Tuner(BaseTuner):
            def run_trial(self, trial: Any, verbose: int) -> dict[str, float]:
                pattern = encoding(trial.hyperparameters, replay.task.num_sites)
                score, size = replay.trial(pattern)
                return {ACCURACY: score, WEIGHTED: score - size / largest}

            def on_trial_end(self, trial: Any) -> None:
                super().on_trial_end(trial)
                (best,) = self.oracle.get_best_trials(1)
                replay.after(lambda: replay.tried[int(best.trial_id)])

        hp = kt.HyperParameters()
        encoding(hp, replay.task.num_sites)
        with tempfile.TemporaryDirectory() as folder:
            maker = oracle(
                objective=kt.Objective(WEIGHTED if both else ACCURACY, "max"),
                max_trials=trials,
                hyperparameters=hp,
                # KerasTuner's draws of neighboring seeds are the same, one trial
                # later, and 0 is a random seed.
                seed=1 + 1000 * replay.seed,
            )
            Tuner(maker, directory=folder, project_name="replay").search(verbose=0)

    return search
