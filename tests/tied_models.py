"""Small models with tied layers."""

import keras
import numpy as np
from keras import layers, ops
from random_data import JIT

from keras_share import Tied


def assert_equal(a, b):
    np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))


def one_step(model, x, y):
    """One step of gradient descent; returns the change of each trainable weight."""
    model.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=JIT)
    before = [ops.convert_to_numpy(w) for w in model.trainable_weights]
    model.train_on_batch(x, y)
    after = [ops.convert_to_numpy(w) for w in model.trainable_weights]
    return {
        w.path: b - a
        for w, a, b in zip(model.trainable_weights, after, before, strict=True)
    }


def block(dropout=0.0):
    return keras.Sequential(
        [
            layers.Dense(8, name="dense"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(dropout),
        ]
    )


def tied_model(private="normalization", dropout=0.0):
    inner = block(dropout)
    inputs = keras.Input((8,))
    outputs = Tied(inner, private, name="again")(inner(inputs))
    return keras.Model(inputs, outputs)
