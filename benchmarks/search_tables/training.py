"""Training with the sharing pattern as an input: one compiled program for all of them.

To build, trace and compile a Keras model for each pattern and seed takes longer than to
train it. Here the kernels of six groups are one tensor and site `l` uses
`kernels[pattern.labels[l]]`; kernels of groups that a pattern does not have get no
gradient and stay what they were. Network, loss, optimizer and schedule are those of
`network.keras_model` under `keras.optimizers.Adam` and `CosineDecay`, which
`tests/benchmarks/test_search_tables.py` checks step by step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from search_tables.data import Data
from search_tables.network import CLASSES, FEATURES, NUM_SITES, WIDTH

BATCH = 64
EPOCHS = 20
PEAK = 0.005  # learning rate
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # of Adam, as in Keras

Weights = dict[str, tf.Tensor]


def single_core() -> None:
    """Keeps TensorFlow to one thread; before it is used."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def initial_weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """New weights: normal kernels, zero biases."""

    def normal(*shape: int, variance: float) -> np.ndarray:
        return rng.normal(scale=variance**0.5, size=shape).astype("float32")

    return {
        # The sum over sites has the variance of the input.
        "kernels": normal(
            NUM_SITES, FEATURES, WIDTH, variance=1 / (NUM_SITES * FEATURES)
        ),
        "biases": np.zeros((NUM_SITES, WIDTH), "float32"),
        "head": normal(WIDTH, CLASSES, variance=1 / WIDTH),
        "head_bias": np.zeros(CLASSES, "float32"),
    }


def forward(weights: Weights, labels: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Logits of a batch `(n, 96)` under the pattern of `labels`."""
    kernels = tf.gather(weights["kernels"], labels)
    biases = tf.gather(weights["biases"], labels)
    parts = tf.split(x, NUM_SITES, axis=1)
    total = tf.zeros((x.shape[0], WIDTH))
    for site, part in enumerate(parts):
        total += tf.nn.relu(part @ kernels[site] + biases[site])
    return total @ weights["head"] + weights["head_bias"]


def mean_loss(logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Cross-entropy."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))


def cosine(peak: tf.Tensor, step: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    """The learning rate of a step: half a wave from `peak` to 0."""
    done = tf.cast(step, "float32") / tf.cast(total, "float32")
    return peak * 0.5 * (1 + tf.cos(np.pi * done))


def adam_step(weights, moments, labels, x, y, step, rate):
    """One step: new weights, new moments, and the loss before it."""
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss = mean_loss(forward(weights, labels, x), y)
    count = tf.cast(step + 1, "float32")
    rate *= tf.sqrt(1 - BETA_2**count) / (1 - BETA_1**count)
    weights, moments = dict(weights), dict(moments)
    gradients = tape.gradient(loss, weights)
    for name in weights:
        gradient = tf.convert_to_tensor(gradients[name])  # of `gather` it is sparse
        first = BETA_1 * moments[name][0] + (1 - BETA_1) * gradient
        second = BETA_2 * moments[name][1] + (1 - BETA_2) * gradient**2
        moments[name] = (first, second)
        weights[name] -= rate * first / (tf.sqrt(second) + EPSILON)
    return weights, moments, loss


@dataclass(frozen=True)
class Score:
    """How well a network does on the validation set."""

    accuracy: float
    loss: float


class Trainer:
    """Trains and scores networks of any pattern on one data set.

    Args:
        data: What is trained and validated on.
        epochs: Of a full training.
    """

    def __init__(self, data: Data, epochs: int = EPOCHS):
        self.samples = len(data.y)
        self.steps = epochs * (self.samples // BATCH)
        x, y = tf.constant(data.x), tf.constant(data.y)
        x_val, y_val = tf.constant(data.x_val), tf.constant(data.y_val)

        @tf.function(jit_compile=True)
        def run(weights, moments, labels, batches, first, last, total, peak):
            def step(i, weights, moments):
                batch = batches[i]
                weights, moments, _ = adam_step(
                    weights,
                    moments,
                    labels,
                    tf.gather(x, batch),
                    tf.gather(y, batch),
                    i,
                    cosine(peak, i, total),
                )
                return i + 1, weights, moments

            return tf.while_loop(
                lambda i, *_: i < last, step, (first, weights, moments)
            )[1:]

        @tf.function(jit_compile=True)
        def score(weights, labels):
            logits = forward(weights, labels, x_val)
            right = tf.equal(tf.argmax(logits, -1, tf.int32), y_val)
            return tf.reduce_mean(tf.cast(right, "float32")), mean_loss(logits, y_val)

        self._run, self._score = run, score

    def batches(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of the samples of every step of a full training."""
        per_epoch = self.samples // BATCH
        epochs = [
            rng.permutation(self.samples)[: per_epoch * BATCH]
            for _ in range(self.steps // per_epoch)
        ]
        return np.reshape(epochs, (-1, BATCH)).astype("int32")

    def train(
        self,
        weights: dict,
        labels: Sequence[int],
        batches: np.ndarray,
        peak: float = PEAK,
        steps: int | None = None,
        pause: int | None = None,
    ) -> tuple[Weights, list[Score]]:
        """Trains by Adam under a cosine schedule from `peak` to 0.

        Args:
            weights: What to start from.
            labels: Of the pattern.
            batches: Of `batches()`.
            peak: The first learning rate.
            steps: Steps of the schedule. Defaults to a full training.
            pause: A step after which to score, too.

        Returns:
            The weights, and the scores at `pause`, if given, and at the end.
        """
        total = steps or self.steps
        weights = {name: tf.constant(value) for name, value in weights.items()}
        moments = {name: (tf.zeros_like(w),) * 2 for name, w in weights.items()}
        labels = tf.constant(labels, "int32")
        scores, first = [], 0
        for last in filter(None, (pause, total)):
            weights, moments = self._run(
                weights,
                moments,
                labels,
                tf.constant(batches),
                *(tf.constant(step) for step in (first, last, total)),
                tf.constant(peak, "float32"),
            )
            scores.append(self.score(weights, labels))
            first = last
        return weights, scores

    def score(self, weights: Weights, labels: Sequence[int]) -> Score:
        """Scores weights on the validation set."""
        accuracy, loss = self._score(weights, tf.constant(labels, "int32"))
        return Score(float(accuracy), float(loss))
