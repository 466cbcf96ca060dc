"""`LowRank`: a private matrix of low rank beside a shared kernel."""

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
class LowRank(Relaxation):
    """Adds a private matrix of low rank: `W + A_i B_i`.

    Relaxed Recursive Transformers (arXiv 2410.20672); with a diagonal
    ResidualTransformer (2310.02489). `A_i` starts at random and `B_i` at zero, as in
    LoRA (2106.09685); `keras_share.share` starts both at the best approximation of
    what the shared kernel lacks (`init="svd"`).

    Args:
        rank: Number of columns of `A_i`.
        diagonal: Whether to add a diagonal too, where a kernel is square.
        init: `"svd"` or `"zeros"`, for `share`; a new network starts at zero.

    Example:
    >>> import keras, keras_share
    >>> stack = keras_share.SharedStack(
    ...     keras.layers.Dense(8), "AAA", relax=keras_share.LowRank(2)
    ... )
    >>> stack.build((None, 8))
    >>> stack.count_params()  # one Dense of 72, three times 8 x 2 and 2 x 8
    168
    """

    rank: int
    diagonal: bool = False
    init: str = "svd"
    additive = True

    def __post_init__(self):
        check_positive("rank", self.rank)
        if self.init not in ("svd", "zeros"):
            raise ValueError(
                f"`init` must be 'svd' or 'zeros'. Received: init={self.init!r}"
            )

    def weights(self, kernel: Kernel, site: int, num_sites: int) -> dict[str, Weight]:
        check_rank(self.rank, kernel)
        weights = {
            "down": Weight(
                kernel.inner_shape(self.rank), normal(kernel.num_inputs**-0.5)
            ),
            "up": Weight(kernel.outer_shape(self.rank), "zeros"),
        }
        if self._has_diagonal(kernel):
            weights["diagonal"] = Weight(kernel.output_shape, "zeros")
        return weights

    def _has_diagonal(self, kernel: Kernel) -> bool:
        # Of a convolution over several places the kernel is no square matrix.
        return self.diagonal and kernel.input_shape == kernel.output_shape

    def kernel(self, value: Any, weights: dict[str, Any], kernel: Kernel) -> Any:
        down = ops.reshape(weights["down"], (-1, self.rank))
        delta = down @ ops.reshape(weights["up"], (self.rank, -1))
        if "diagonal" in weights:
            delta = delta + ops.diag(ops.reshape(weights["diagonal"], (-1,)))
        return value + kernel.from_matrix(delta)

    def call(self, x: Any, use: Any) -> Any:
        y = use.linear(x) + use.outer(use.inner(x, "down"), "up")
        return y + use.scale(x, "diagonal") if "diagonal" in use.weights else y

    def fit(
        self, base: np.ndarray, members: list[np.ndarray]
    ) -> tuple[np.ndarray, Arrays, list[Arrays]] | None:
        if self.init != "svd":
            return None
        sites = []
        for member in members:
            left, sizes, right = np.linalg.svd(member - base, full_matrices=False)
            root = np.sqrt(sizes[: self.rank])
            down = left[:, : self.rank] * root
            sites.append({"down": down, "up": root[:, None] * right[: self.rank]})
        return base, {}, sites
