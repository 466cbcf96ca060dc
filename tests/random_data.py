"""Numbers for tests, the same in every run, and how to train on few."""

import keras
import numpy as np

# To compile takes longer than to run a step or two; but JAX compiles operation by
# operation what is not compiled as a whole.
JIT = keras.backend.backend() == "jax"


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
