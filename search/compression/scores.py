"""`Scores`: how well files do, with intervals of confidence."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import tree

from keras_share.quantize.representative import in_order
from keras_share.search.compression.data import Data
from keras_share.search.compression.training import judged
from keras_share.tflite.runtimes.predict import predict_tflite

_RESAMPLED = 200

Predictions = list[np.ndarray]


@dataclass(frozen=True)
class Interval:
    """A number, and between what it lies with 95% confidence."""

    value: float
    low: float
    high: float


class Scores:
    """Judges outputs by a metric of the original, or `"loss"`.

    Intervals are those of the bootstrap over samples (Efron, 1979): they say what other
    samples would have brought, not what another training would.
    """

    def __init__(self, original: keras.Model, data: Data, metric: str):
        self.metric = metric
        self.count = data.count
        self._original = original
        self._judge = judged(original, original)
        self._data = data
        rng = np.random.default_rng(0)
        self._drawn = rng.integers(0, self.count, (_RESAMPLED, self.count))

    def predictions(self, path: Path) -> Predictions:
        """The outputs of a file for all samples."""
        inputs = in_order(self._data.whole[0], self._original)
        types = [one.dtype for one in self._original.inputs]
        arrays = [a.astype(t) for a, t in zip(inputs, types, strict=True)]
        found = predict_tflite(path, arrays)
        return list(found.values()) if isinstance(found, Mapping) else [found]

    def interval(self, said: Predictions) -> Interval:
        """The score of outputs."""
        return self._interval(lambda drawn: self._score(said, drawn))

    def difference(self, said: Predictions, others: Predictions) -> Interval:
        """By how much the score of outputs is above that of others, paired."""
        return self._interval(
            lambda drawn: self._score(said, drawn) - self._score(others, drawn)
        )

    def _interval(self, statistic: Callable[[np.ndarray | None], float]) -> Interval:
        low, high = np.percentile([statistic(d) for d in self._drawn], [2.5, 97.5])
        return Interval(statistic(None), float(low), float(high))

    def _score(self, said: Predictions, drawn: np.ndarray | None) -> float:
        model, (_, y, *weights) = self._original, self._data.whole
        form = getattr(model, "output", model.outputs[0])  # a Sequential has none
        structure = tree.pack_sequence_as(form, said)
        parts: Any = [y, structure, weights[0] if weights else None]
        if drawn is not None:
            parts = tree.map_structure(lambda a: None if a is None else a[drawn], parts)
        judge = self._judge
        judge.reset_metrics()
        if self.metric == "loss":
            return float(judge.compute_loss(None, *parts, training=False))
        return float(judge.compute_metrics(None, *parts)[self.metric])
