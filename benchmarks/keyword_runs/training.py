"""One training: accuracy on unheard speakers, float and as an int8 file."""

import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keyword_parts.batches import Batches
from keyword_parts.frontend import with_all_levels
from keyword_parts.training import compile_network

import keras_share as ks
from keyword_runs.features import AUGMENTATION
from keyword_runs.networks import build

BATCH = 64
RATE = 0.01
SAMPLES = 200  # by which ranges are set


class Trainer:
    """Trains one network again and again, each time from new weights.

    To trace it takes as long as to train it, so that this is done once.

    Args:
        name: One of `keyword_runs.networks.NETWORKS`.
        width: Channels.
        features: From `keyword_runs.features.load`.
        labels: Integers `(n,)`.
        epochs: Epochs of a training.
    """

    def __init__(
        self,
        name: str,
        width: int,
        features: np.ndarray,
        labels: np.ndarray,
        epochs: int,
    ):
        self.name, self.width, self.epochs = name, width, epochs
        self.features, self.labels = features, labels
        self.model: keras.Model | None = None

    def run(self, test: np.ndarray, seed: int) -> dict[str, Any]:
        """Trains on all recordings but those of `test`; returns what was measured."""
        train = np.setdiff1d(np.arange(len(self.labels)), test)
        disguised = self.features[1:, train].astype("float32")
        batches = Batches(disguised, self.labels[train], AUGMENTATION, BATCH, seed)
        start = time.process_time()
        model = self._fresh(batches, seed)
        model.fit(batches, epochs=self.epochs, verbose=0)
        seconds = time.process_time() - start
        clean = self.features[0].astype("float32")
        x, y = clean[test], self.labels[test]
        logits = model.predict(x, batch_size=256, verbose=0)
        raw = int8_file(model, clean[train[:: max(1, len(train) // SAMPLES)]])
        return {
            "network": self.name,
            "width": self.width,
            "bytes": len(raw),
            "macs": ks.audit(raw).macs,
            "seed": seed,
            "accuracy": float(np.mean(logits.argmax(axis=1) == y)),
            "int8": float(np.mean(ks.predict_tflite(raw, x).argmax(axis=1) == y)),
            "epochs": self.epochs,
            "cpu_seconds": round(seconds, 1),
        }

    def _fresh(self, batches: Batches, seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        shape, labels = self.features.shape[2:], int(self.labels.max()) + 1
        new = build(self.name, self.width, shape, labels)
        if self.model is None:
            self.model = compile_network(new, batches, self.epochs, RATE)
        else:
            self.model.set_weights(new.get_weights())
            for variable in self.model.optimizer.variables:
                variable.assign(keras.ops.zeros_like(variable))
        return self.model


def int8_file(model: keras.Model, samples: np.ndarray) -> bytes:
    """The int8 file of a network, calibrated, which takes the front end's integers."""
    quantized = ks.quantize_model(model, with_all_levels(samples))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        ks.export_tflite(
            quantized,
            path,
            target="micro",
            inference_input_type="int8",
            inference_output_type="int8",
        )
        return path.read_bytes()


def fitting_width(
    name: str, shape: tuple[int, int], num_labels: int, max_bytes: int
) -> int:
    """The largest width, a multiple of four, whose int8 file fits.

    The file has about a byte for each parameter, and what its operators take.

    Raises:
        ValueError: If there is none.
    """

    def parameters(width: int) -> int:
        return build(name, width, shape, num_labels).count_params()

    def size(width: int) -> int:
        model = build(name, width, shape, num_labels)
        rng = np.random.default_rng(0)  # what is equal would be stored once
        weights = [w + rng.uniform(0, 0.01, w.shape) for w in model.get_weights()]
        model.set_weights(weights)
        return len(int8_file(model, rng.uniform(0, 8, (2, *shape)).astype("float32")))

    widths = (16, 32, 64)
    count = np.polynomial.Polynomial.fit(widths, [parameters(w) for w in widths], 2)
    width = 32
    for _ in range(2):
        extra = size(width) - count(width)
        fits = [w for w in range(8, 256, 4) if count(w) + extra <= max_bytes]
        if not fits:
            raise ValueError(
                f"The budget must leave room for a network. Received: {max_bytes} "
                f"bytes, and {name!r} of width 8 has {count(8) + extra:.0f}"
            )
        width = fits[-1]
    while size(width) > max_bytes:
        width -= 4
    return width
