"""Searches that take no time, for the tests of `keras_share.search`."""

import keras
import keras_tuner as kt
import numpy as np

from keras_share import SharingPattern
from keras_share.search import SharingSearch, sharing_pattern
from keras_share.search.policies import Policy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("int32")
ALL = sorted(str(pattern) for pattern in SharingPattern.all(4))
DATA = {"x": X, "y": Y, "validation_data": (X, Y)}


def build(hp, num_sites=4):
    pattern = sharing_pattern(hp, num_sites)
    layers = [keras.layers.Dense(4) for _ in range(pattern.num_groups)]
    inputs = outputs = keras.Input((4,))
    for label in pattern.labels:
        outputs = layers[label](outputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(outputs))
    model.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        run_eagerly=True,
    )
    return model


def size(model):
    return {"exported_bytes": 1000 + 4 * model.count_params()}


class Untrained(kt.HyperModel):
    """Scores a pattern without training, to search much in little time."""

    def __init__(self, score=None):
        super().__init__()
        self.score = score or (lambda pattern: pattern.num_groups / 10)
        self.fits = 0

    def build(self, hp):
        self.pattern = sharing_pattern(hp, 4)
        inputs = keras.Input((1,))
        return keras.Model(inputs, keras.layers.Dense(self.pattern.num_groups)(inputs))

    def fit(self, hp, model, callbacks):
        self.fits += 1
        return {"val_accuracy": self.score(self.pattern), "val_loss": 1.0}


def quick(cls, tmp_path, hypermodel=None, **kwargs):
    """A tuner whose trials take next to no time."""
    kwargs = {"export": None, "seed": 1, "directory": tmp_path, **kwargs}
    return cls(hypermodel or Untrained(), "val_accuracy", **kwargs)


def patterns(tuner):
    return [row.pattern for row in tuner.results.records]


def failing(bad):
    def score(pattern):
        if str(pattern) in bad:
            raise OSError("no such weights")
        return 0.5

    return Untrained(score)


class InOrder(Policy):
    """Proposes the first of all points that was not tried."""

    def propose(self, problem, seed):
        tried = problem.tried()
        grid = problem.space.grid(1000)
        return next((p for p in grid if problem.space.key(p) not in tried), None)


def in_order(tmp_path, hypermodel=None, **kwargs):
    """A tuner whose trials take next to no time, in the order of their numbers."""
    kwargs = {"policy": InOrder(), **kwargs}
    return quick(SharingSearch, tmp_path, hypermodel, **kwargs)
