"""`Templates`: private mixtures of shared kernels."""

import random
from collections.abc import Callable
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
)


@keras.saving.register_keras_serializable(package="keras_share")
@dataclass(frozen=True)
class Templates(Relaxation):
    """Makes the kernel of each use of shared templates: `sum_k a_ik T_k`.

    Savarese & Maire (arXiv 1902.09701): the coefficients of the uses start
    orthogonal, and should not decay: call
    `optimizer.exclude_from_weight_decay(var_names=["coefficients"])` before training
    where the optimizer has a `weight_decay`.

    Args:
        num_templates: Number of templates. The kernel itself is the first.
        seed: Of the coefficients; drawn if None.

    Example:
    >>> import keras, keras_share
    >>> stack = keras_share.SharedStack(
    ...     keras.layers.Dense(8), "AAA", relax=keras_share.Templates(2)
    ... )
    >>> stack.build((None, 8))
    >>> stack.count_params()  # one bias, two templates of 8 x 8, three times two
    142
    """

    num_templates: int
    seed: int | None = None

    def __post_init__(self):
        check_positive("num_templates", self.num_templates)
        if self.seed is None:
            object.__setattr__(self, "seed", random.randrange(2**31))

    def weights(self, kernel: Kernel, site: int, num_sites: int) -> dict[str, Weight]:
        start = self.coefficients(num_sites)[site % num_sites]
        weights = {
            name: Weight(kernel.variable.shape, _another(kernel, k + 1), shared=True)
            for k, name in enumerate(self._names)
        }
        return {"coefficients": Weight(start.shape, _constant(start)), **weights}

    @property
    def _names(self) -> list[str]:
        return [f"template_{k}" for k in range(1, self.num_templates)]

    def coefficients(self, num_sites: int) -> np.ndarray:
        """The start: `(num_sites, num_templates)`, rows of about unit length.

        Rows are orthogonal if there are no more of them than columns, else columns.
        """
        size = max(num_sites, self.num_templates)
        normal = np.random.default_rng(self.seed).normal(size=(size, size))
        start = np.linalg.qr(normal)[0][:num_sites, : self.num_templates]
        return start * np.sqrt(size / self.num_templates)

    def kernel(self, value: Any, weights: dict[str, Any], kernel: Kernel) -> Any:
        templates = [value, *(weights[name] for name in self._names)]
        parts = [t * weights["coefficients"][k] for k, t in enumerate(templates)]
        return sum(parts[1:], start=parts[0])

    def call(self, x: Any, use: Any) -> Any:
        outputs = [use.linear(x), *(use.linear(x, name) for name in self._names)]
        return use.mix(outputs, "coefficients")

    def fit(
        self, base: np.ndarray, members: list[np.ndarray]
    ) -> tuple[np.ndarray, Arrays, list[Arrays]]:
        flat = np.stack([m.reshape(-1) for m in members])
        left, sizes, right = np.linalg.svd(flat, full_matrices=False)
        found = min(self.num_templates, len(sizes))
        templates = np.zeros((self.num_templates, *base.shape), base.dtype)
        templates[:found] = (sizes[:found, None] * right[:found]).reshape(
            found, *base.shape
        ) / np.sqrt(len(members))
        # One, and not zero, where nothing is left to fit: a template must train.
        coefficients = np.ones((len(members), self.num_templates), base.dtype)
        coefficients[:, :found] = left[:, :found] * np.sqrt(len(members))
        shared = dict(zip(self._names, templates[1:], strict=True))
        return templates[0], shared, [{"coefficients": row} for row in coefficients]


def _constant(value: np.ndarray) -> Callable:
    return lambda shape, dtype=None: ops.convert_to_tensor(value, dtype)


def _another(kernel: Kernel, number: int) -> Any:
    """The initializer of a kernel, so that it draws other values."""
    initializer = kernel.layer.kernel_initializer
    if not hasattr(initializer, "get_config"):
        return initializer  # a function
    config = initializer.get_config()
    if isinstance(config.get("seed"), int):
        config["seed"] += number
    return type(initializer).from_config(config)
