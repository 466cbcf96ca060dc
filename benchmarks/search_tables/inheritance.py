"""Starting a candidate from the weights of the trained unshared network."""

import numpy as np
import tensorflow as tf

from keras_share import SharingPattern
from search_tables.network import NUM_SITES
from search_tables.training import Trainer, forward, initial_weights

SEED = 1000  # none of the tables'
_RIDGE = 1e-3  # as in `keras_share.retrofit.moments`


def donor(trainer: Trainer, start: str, draw: int) -> dict[str, np.ndarray]:
    """Weights of the unshared network after a full training.

    Args:
        trainer: Of the data set.
        start: `"apart"`; or `"alike"`, where all sites begin with equal weights.
        draw: Which of several donors.
    """
    rng = np.random.default_rng([SEED + draw, start == "alike"])
    weights = initial_weights(rng)
    if start == "alike":
        weights["kernels"][:] = weights["kernels"][0]
    unshared = SharingPattern.unshared(NUM_SITES)
    weights, _ = trainer.train(weights, unshared.labels, trainer.batches(rng))
    return {name: value.numpy() for name, value in weights.items()}


def merged(weights: dict, pattern: SharingPattern) -> tuple[dict, float]:
    """Each group's mean over its sites, and the squared distance of the kernels."""
    weights = {name: np.array(value) for name, value in weights.items()}
    sites = {name: weights[name].copy() for name in ("kernels", "biases")}
    for group, members in enumerate(pattern.groups):
        for name, values in sites.items():
            weights[name][group] = values[list(members)].mean(axis=0)
    distance = sites["kernels"] - weights["kernels"][list(pattern.labels)]
    return weights, float(np.sum(distance**2))


def fitted(weights: dict, pattern: SharingPattern, x: np.ndarray) -> dict:
    """Each group's kernel as `share(..., data=x)` starts it: the closest on its inputs.

    Args:
        weights: Of the donor.
        pattern: Which sites share.
        x: Inputs of the network, `(n, 96)`.
    """
    merged_weights, _ = merged(weights, pattern)
    parts = np.split(x.astype("float64"), NUM_SITES, axis=1)
    moments = [part.T @ part for part in parts]
    for group, members in enumerate(pattern.groups):
        total = np.sum([moments[i] for i in members], axis=0)
        ridge = _RIDGE * np.trace(total) / len(total) * np.eye(len(total))
        each = [moments[i] + ridge / len(members) for i in members]
        aims = [c @ weights["kernels"][i] for c, i in zip(each, members, strict=True)]
        best = np.linalg.solve(total + ridge, np.sum(aims, axis=0))
        merged_weights["kernels"][group] = best.astype("float32")
    return merged_weights


def changes(weights: dict, x: np.ndarray) -> dict[str, float]:
    """What `keras_share.sharing_signals` tells of patterns, as they start `fitted`.

    The mean squared change of the logits, in parts of their variance.
    """

    def logits(weights: dict, pattern: SharingPattern) -> np.ndarray:
        tensors = {name: tf.constant(value) for name, value in weights.items()}
        labels = tf.constant(pattern.labels, "int32")
        return forward(tensors, labels, tf.constant(x)).numpy()

    before = logits(weights, SharingPattern.unshared(NUM_SITES))
    variance = before.var(axis=0).mean()
    found = {}
    for pattern in SharingPattern.all(NUM_SITES):
        after = logits(fitted(weights, pattern, x), pattern)
        found[str(pattern)] = float(np.square(after - before).mean() / variance)
    return found
