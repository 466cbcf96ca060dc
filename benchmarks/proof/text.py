"""Text: bits per byte of a small language model on the end of a text."""

from functools import cached_property
from pathlib import Path

import keras
import numpy as np
from keras import layers
from scipy.special import log_softmax

from proof.candidate import Candidate, normalized
from proof.task import Data, Task

LENGTH = 64
VALIDATION, TEST = 0.90, 0.95  # where they begin


class Text(Task):
    """Predicts each byte of a text from those before it."""

    name = "text"
    budgets = (30, 60, 120)
    sign = -1
    unit = "bits per byte"
    batch = 32
    rates = (0.016, 0.032, 0.064)

    @cached_property
    def ids(self) -> np.ndarray:
        """The text as numbers of its distinct bytes."""
        if self.source is None:
            raise ValueError("The task `text` needs a text file: --data text.txt")
        raw = np.frombuffer(Path(self.source).read_bytes(), "uint8")
        self.vocabulary, ids = np.unique(raw, return_inverse=True)
        return ids.astype("int32")

    def load(self, seed: int) -> Data:
        """Windows of the text; those to train on are drawn when they are needed."""
        val, test = (int(part * len(self.ids)) for part in (VALIDATION, TEST))
        x, y = _windows(self.ids[:val])
        return Data(x, y, *_windows(self.ids[val:test]), *_windows(self.ids[test:]))

    def batches(
        self, data: Data, rng: np.random.Generator, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Windows from anywhere in the text that is trained on."""
        last = int(VALIDATION * len(self.ids)) - LENGTH - 1
        first = rng.integers(last, size=(steps * self.batch, 1))
        windows = self.ids[first + np.arange(LENGTH + 1)]
        return windows[:, :-1], windows[:, 1:]

    def network(self, candidate: Candidate, width: int) -> keras.Model:
        """Byte embeddings, causal blocks, and a classifier of the next byte."""
        inputs = keras.Input((LENGTH,), dtype="int32", name="bytes")
        self.ids  # noqa: B018 (reads the vocabulary)
        size = len(self.vocabulary)
        unit = keras.initializers.RandomNormal(stddev=1.0)
        x = layers.Embedding(size, width, embeddings_initializer=unit, name="table")(
            inputs
        )
        x = layers.Reshape((1, LENGTH, width), name="row")(x)
        x = candidate.stack(kernel_size=(1, 8), causal=True)(x)
        x = layers.Dense(size, name="head")(normalized(x, "last"))
        return keras.Model(inputs, layers.Reshape((LENGTH, size), name="logits")(x))

    def score(self, logits: np.ndarray, y: np.ndarray) -> float:
        """Bits per byte."""
        likely = np.take_along_axis(log_softmax(logits, axis=-1), y[..., None], -1)
        return float(-likely.mean() / np.log(2))


def _windows(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows side by side, and the same one byte on."""
    count = (len(ids) - 1) // LENGTH
    x, y = ids[: count * LENGTH], ids[1 : count * LENGTH + 1]
    return x.reshape(count, LENGTH), y.reshape(count, LENGTH)
