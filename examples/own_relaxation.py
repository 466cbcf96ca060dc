"""How to write a relaxation of your own, and see that it keeps the kernel shared.

    python examples/own_relaxation.py

`RankOne` adds the outer product of two private vectors to a shared kernel. What it
takes is one formula in two forms: on the kernel, as the model trains, and on
activations, as the file computes it.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
from keras import ops

import keras_share


@keras.saving.register_keras_serializable(package="examples")
@dataclass(frozen=True)
class RankOne(keras_share.layers.Relaxation):
    """Adds the outer product of two private vectors to a shared kernel."""

    strength: float = 1.0
    additive = True  # the bias may stay beside the shared kernel

    def weights(self, kernel, site, num_sites):
        """The weights that each use has for itself."""
        return {
            "rows": keras_share.layers.Weight(kernel.inner_shape(1), "random_normal"),
            "columns": keras_share.layers.Weight(kernel.outer_shape(1), "zeros"),
        }

    def kernel(self, value, weights, kernel):
        """On the kernel: how the model trains."""
        rows = ops.reshape(weights["rows"], (-1, 1))
        columns = ops.reshape(weights["columns"], (1, -1))
        return value + kernel.from_matrix(self.strength * rows * columns)

    def call(self, x, use):
        """On activations: how the model is exported."""
        inner = use.inner(x, "rows") * self.strength
        return use.linear(x) + use.outer(inner, "columns")


def main() -> None:
    """Builds, trains, exports and shows what the file stores."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 64)).astype("float32")
    stack = keras_share.SharedStack(
        keras.layers.Dense(64, activation="relu"), "AAAA", relax=RankOne()
    )
    model = keras.Sequential([keras.Input((64,)), stack])
    model.compile("adam", "mse", jit_compile=False)
    model.fit(x, np.roll(x, 1, axis=1), epochs=2, verbose=0)
    stack.summary()
    with TemporaryDirectory() as folder:
        print(keras_share.export_tflite(model, Path(folder) / "model.tflite"))


if __name__ == "__main__":
    main()
