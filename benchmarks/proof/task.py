"""What a task is: data, a network of any width, a budget of training."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from proof.candidate import Candidate


@dataclass(frozen=True)
class Data:
    """Inputs and labels to train on, to choose by and to report.

    Args:
        x: Inputs to train on, `(n, ...)`.
        y: Labels `(n,)`, or `(n, length)` of sequences.
        x_val: Inputs to choose by.
        y_val: Their labels.
        x_test: Inputs that nothing was chosen by.
        y_test: Their labels.
    """

    x: np.ndarray
    y: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass
class Task(ABC):
    """A task of the proof.

    Args:
        source: Where the data are; None for the default of the task.
        steps: Steps of a training by which is chosen.
    """

    source: str | None = None
    steps: int = 1500

    name: ClassVar[str]
    # Kilobytes (1,000 bytes) of the int8 file.
    budgets: ClassVar[tuple[int, ...]] = (12, 25, 50)
    # Which is better where: +1 of accuracy, -1 of bits per byte.
    sign: ClassVar[int] = 1
    unit: ClassVar[str] = "accuracy"
    batch: ClassVar[int] = 64
    # Peak rates, among which either side chooses, and by which of its candidates.
    rates: ClassVar[tuple[float, ...]] = (0.004, 0.008, 0.016)
    tuned_by: ClassVar[tuple[str, str]] = ("AB", "ABAB")
    candidates: ClassVar[tuple[str, ...]] = (
        *("A", "AB", "ABC", "ABCD"),
        *("AA", "AAA", "AAAA", "AABB", "ABAB", "ABBC", "AABBCC", "AABB expand"),
    )

    @abstractmethod
    def load(self, seed: int) -> Data:
        """The data; a seed may draw the split."""

    @abstractmethod
    def network(self, candidate: Candidate, width: int) -> keras.Model:
        """The network, whose outputs are logits."""

    def batches(self, data: Data, rng: np.random.Generator, steps: int) -> Any:
        """What is trained on, in order: `steps` batches, one after the other."""
        count = steps * self.batch
        rounds = -(-count // len(data.x))
        order = np.concatenate([rng.permutation(len(data.x)) for _ in range(rounds)])
        order = order[:count]
        return data.x[order], data.y[order]

    def score(self, logits: np.ndarray, y: np.ndarray) -> float:
        """Accuracy."""
        return float(np.mean(logits.argmax(axis=-1) == y))
