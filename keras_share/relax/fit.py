"""`fit`: starts relaxations at trained kernels."""

from typing import Any

import keras
import numpy as np

from keras_share.relax.kernel import Kernel


def fit(uses: list[keras.Layer], kernels: list[list[np.ndarray]]) -> None:
    """Sets the weights of the uses of a relaxed layer from a kernel for each.

    Args:
        uses: A built `Relaxed` and its built `Tied` uses.
        kernels: For each use, the kernel that it should have for each of
            `relaxed_kernels`. The shared kernels must have their values.
    """
    relaxed = uses[0]
    for index, item in enumerate(relaxed.relaxed_kernels):
        if len(item.chain) > 1:
            raise ValueError(
                "Trained weights can be fitted by one relaxation per kernel. Received: "
                f"{list(item.chain)} for '{item.kernel.layer.name}'"
            )
        kernel, [weights] = item.kernel, item.weights
        found = item.chain[0].fit(
            _matrix(kernel, kernel.variable),
            [_matrix(kernel, row[index]) for row in kernels],
        )
        if found is None:
            continue
        base, shared, sites = found
        kernel.variable.assign(kernel.from_matrix(base))
        for name, value in shared.items():
            weights[name].assign(_shaped(value, weights[name], kernel))
        for use, values in zip(uses, sites, strict=True):
            own = {id(v): c for v, c in getattr(use, "private_copies", ())}
            for name, value in values.items():
                variable = own.get(id(weights[name]), weights[name])
                variable.assign(_shaped(value, variable, kernel))


def _matrix(kernel: Kernel, value: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(kernel.to_matrix(value)), "float32")


def _shaped(value: np.ndarray, variable: keras.Variable, kernel: Kernel) -> Any:
    if variable.shape == kernel.variable.shape:
        return kernel.from_matrix(value)
    return value.reshape(variable.shape)
