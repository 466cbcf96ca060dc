"""Vision: Fashion-MNIST."""

import gzip
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
from keras import layers

from proof.candidate import Candidate, normalized
from proof.task import Data, Task

VALIDATION = 5000  # of the 60,000 images that are there to train on


class Vision(Task):
    """Tells ten kinds of clothes apart, in images of 28 x 28 pixels."""

    name = "vision"

    @cached_property
    def images(self) -> list[np.ndarray]:
        """Images and labels to train on, and those of the test."""
        if self.source is None:
            (x, y), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
        else:  # a folder, such as that of the Debian package dataset-fashion-mnist
            files = [
                f"{part}-{what}-ubyte.gz"
                for part in ("train", "t10k")
                for what in ("images-idx3", "labels-idx1")
            ]
            x, y, x_test, y_test = (_idx(Path(self.source, file)) for file in files)
        images = [(a[..., None] / 127.5 - 1).astype("float32") for a in (x, x_test)]
        return [images[0], y.astype("int32"), images[1], y_test.astype("int32")]

    def load(self, seed: int) -> Data:
        x, y, x_test, y_test = self.images
        n = len(x) - VALIDATION
        return Data(x[:n], y[:n], x[n:], y[n:], x_test, y_test)

    def batches(
        self, data: Data, rng: np.random.Generator, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Images, half of them mirrored."""
        x, y = super().batches(data, rng, steps)
        mirrored = rng.random(len(x)) < 0.5
        x[mirrored] = x[mirrored, :, ::-1]
        return x, y

    def network(self, candidate: Candidate, width: int) -> keras.Model:
        """A stem that leaves a quarter of the places, blocks, a classifier."""
        inputs = keras.Input((28, 28, 1), name="image")
        x = layers.Conv2D(width, 4, 4, use_bias=False, name="stem")(inputs)
        x = candidate.stack(kernel_size=(3, 3))(normalized(x, "first"))
        x = layers.GlobalAveragePooling2D(name="pooling")(normalized(x, "last"))
        return keras.Model(inputs, layers.Dense(10, name="head")(x))


def _idx(path: Path) -> np.ndarray:
    """The array in a file of the format of MNIST."""
    raw = gzip.decompress(path.read_bytes())
    sizes = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, "uint8", offset=4 + 4 * raw[3]).reshape(sizes)
