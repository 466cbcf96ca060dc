"""`Scale`: a private scale of the outputs of a shared kernel."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_share.layers.relax.kernel import Kernel
from keras_share.layers.relax.relaxation import Arrays, Relaxation, Weight


@keras.saving.register_keras_serializable(package="keras_share")
@dataclass(frozen=True)
class Scale(Relaxation):
    """Multiplies each output of the shared kernel by a private number.

    `W diag(g_i)`: the private scale vectors of VeRA and Tied-LoRA (arXiv 2310.11454,
    2311.09578), on the kernel itself. They start at one.

    Example:
    >>> import keras, keras_share
    >>> stack = keras_share.SharedStack(
    ...     keras.layers.Dense(8), "AAA", relax=keras_share.Scale()
    ... )
    >>> stack.build((None, 8))
    >>> stack.count_params()  # one Dense of 72, three vectors of 8
    96
    """

    def weights(self, kernel: Kernel, site: int, num_sites: int) -> dict[str, Weight]:
        return {"scale": Weight(kernel.output_shape, "ones")}

    def kernel(self, value: Any, weights: dict[str, Any], kernel: Kernel) -> Any:
        scale = ops.reshape(weights["scale"], (1, -1))
        return kernel.from_matrix(kernel.to_matrix(value) * scale)

    def call(self, x: Any, use: Any) -> Any:
        return use.scale(use.linear(x), "scale")

    def fit(
        self, base: np.ndarray, members: list[np.ndarray]
    ) -> tuple[np.ndarray, Arrays, list[Arrays]]:
        size = np.maximum((base**2).sum(axis=0), 1e-12)
        return base, {}, [{"scale": (m * base).sum(axis=0) / size} for m in members]
