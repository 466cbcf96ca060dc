"""Batches of features for `fit`."""

import math

import keras
import numpy as np

from keyword_parts.augmentation import Augmentation


class Batches(keras.utils.PyDataset):
    """Batches of masked features, others in each epoch and the same in each run.

    Args:
        features: Those of each recording in several disguises,
            `(disguises, n, frames, mels)`, one of which is drawn each time.
        labels: Integers `(n,)`.
        augmentation: How features are masked.
        batch_size: Recordings per batch.
        seed: Seed of all draws.
    """

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        augmentation: Augmentation,
        batch_size: int,
        seed: int,
    ):
        super().__init__()
        self.features, self.labels = features, labels
        self.augmentation = augmentation
        self.batch_size, self.seed = batch_size, seed
        self.epoch = 0
        self._order = self._shuffled()

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        first = index * self.batch_size
        chosen = self._order[first : first + self.batch_size]
        disguise = rng.integers(len(self.features), size=len(chosen))
        x = self.augmentation.warp(self.features[disguise, chosen], rng)
        x = self.augmentation.mask(x, rng)
        return x, self.labels[chosen]

    def on_epoch_end(self) -> None:
        """Shuffles."""
        self.epoch += 1
        self._order = self._shuffled()

    def _shuffled(self) -> np.ndarray:
        rng = np.random.default_rng((self.seed, self.epoch))
        return rng.permutation(len(self.labels))
