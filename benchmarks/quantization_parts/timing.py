"""Time per training step of models in turn, in Keras 3 or the legacy tf_keras."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np


def seconds_per_step(
    models: Sequence[Any], x: np.ndarray, y: np.ndarray, rounds: int
) -> list[list[float]]:
    """Seconds of a step of each model, round by round.

    Args:
        models: Compiled models, a step of each of which is a round.
        x: A batch of inputs.
        y: Its targets.
        rounds: Number of rounds, after two to warm up.
    """
    pairs = []
    for number in range(rounds + 2):
        seconds = [0.0] * len(models)
        # Each goes first in half of the rounds.
        order = range(len(models))
        for index in order if number % 2 else reversed(order):
            start = time.perf_counter()
            models[index].train_on_batch(x, y)
            seconds[index] = time.perf_counter() - start
        pairs.append(seconds)
    return pairs[2:]


def ratio(pairs: Sequence[Sequence[float]]) -> float:
    """The median ratio of the second to the first."""
    return statistics.median(b / a for a, b in pairs)


def median(pairs: Sequence[Sequence[float]], index: int) -> float:
    """The median seconds of one of the models."""
    return statistics.median(pair[index] for pair in pairs)
