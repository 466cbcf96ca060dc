"""Numbers for tests, the same in every run."""

import keras
import numpy as np


def values(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers in float32."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomize(model: keras.Model) -> keras.Model:
    """Gives each weight another value: no zero biases, gammas of mixed sign."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        noise = rng.normal(size=weight.shape) * 0.3
        weight.assign(np.abs(noise) + 0.5 if "variance" in weight.path else noise)
    return model
