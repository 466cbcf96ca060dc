"""`Basis`: private coefficients of a shared basis."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_share.layers.relax.kernel import Kernel
from keras_share.layers.relax.relaxation import (
    Arrays,
    Relaxation,
    Weight,
    check_positive,
    check_rank,
    normal,
)


@keras.saving.register_keras_serializable(package="keras_share")
@dataclass(frozen=True)
class Basis(Relaxation):
    """Makes the kernel of each use from a shared basis: `B C_i`.

    Basis Sharing (arXiv 2410.03765). The layer's own kernel is not used, and no
    longer among the weights.

    Args:
        rank: Number of basis vectors, the columns of `B`.

    Example:
    >>> import keras, keras_share
    >>> stack = keras_share.SharedStack(
    ...     keras.layers.Dense(8), "AAA", relax=keras_share.Basis(2)
    ... )
    >>> stack.build((None, 8))
    >>> stack.count_params()  # one bias, 8 x 2, three times 2 x 8
    72
    """

    rank: int
    replaces_kernel = True

    def __post_init__(self):
        check_positive("rank", self.rank)

    def weights(self, kernel: Kernel, site: int, num_sites: int) -> dict[str, Weight]:
        check_rank(self.rank, kernel)
        inner, outer = kernel.inner_shape(self.rank), kernel.outer_shape(self.rank)
        return {
            "basis": Weight(inner, normal(kernel.num_inputs**-0.5), shared=True),
            "coefficients": Weight(outer, normal(self.rank**-0.5)),
        }

    def kernel(self, value: Any, weights: dict[str, Any], kernel: Kernel) -> Any:
        basis = ops.reshape(weights["basis"], (-1, self.rank))
        coefficients = ops.reshape(weights["coefficients"], (self.rank, -1))
        return kernel.from_matrix(basis @ coefficients)

    def call(self, x: Any, use: Any) -> Any:
        return use.outer(use.inner(x, "basis"), "coefficients")

    def fit(
        self, base: np.ndarray, members: list[np.ndarray]
    ) -> tuple[np.ndarray, Arrays, list[Arrays]]:
        left, sizes, right = np.linalg.svd(np.hstack(members), full_matrices=False)
        root = np.sqrt(len(members))
        basis = left[:, : self.rank] * sizes[: self.rank] / root
        blocks = np.split(right[: self.rank] * root, len(members), axis=1)
        return base, {"basis": basis}, [{"coefficients": block} for block in blocks]
