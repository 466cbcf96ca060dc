"""`Relaxation`: small weights by which the uses of a shared kernel differ."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from keras_share.layers.relax.kernel import Kernel

# By name; kernels as matrices of shape (num_inputs, num_outputs).
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Weight:
    """A weight that a relaxation adds to a kernel.

    Attributes:
        shape: Its shape.
        initializer: Anything that `add_weight` takes.
        shared: Whether all uses of the kernel share it. Else each has its own.
    """

    shape: Sequence[int]
    initializer: Any
    shared: bool = False


class Relaxation:
    """How the uses of a shared kernel may differ, at the price of few weights.

    A subclass is a frozen dataclass, registered with Keras, and says the same thing
    twice: `kernel` computes the kernel of a use, which is how the model trains, and
    `call` computes the output of a use from the output of the shared kernel, which is
    how it is exported: what is computed on a kernel becomes a constant for each use
    in a file. `examples/own_relaxation.py` shows one.
    """

    # A subclass is a dataclass.
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field]]

    # Whether it adds something to what the shared kernel computes, so that the bias
    # can stay beside the kernel.
    additive = False
    # Whether the kernel itself is not used at all.
    replaces_kernel = False

    def weights(self, kernel: Kernel, site: int, num_sites: int) -> dict[str, Weight]:
        """The weights to add to a kernel, by name.

        Args:
            kernel: The kernel.
            site: Number of this use among those of the kernel, from 0.
            num_sites: Number of uses.

        Raises:
            ValueError: If the relaxation doesn't fit the kernel.
        """
        raise NotImplementedError

    def kernel(self, value: Any, weights: dict[str, Any], kernel: Kernel) -> Any:
        """The kernel of a use: tensor of the shape of `value`, the shared one."""
        raise NotImplementedError

    def call(self, x: Any, use: Any) -> Any:
        """The same as `kernel`, on activations.

        Args:
            x: Input of the layer.
            use: A `keras_share.flat.kernel_use.KernelUse`: `use.linear(x)` is what
                the shared kernel computes, and its other methods what weights of the
                relaxation do, by name.

        Returns:
            Output of the layer before its activation, and before its bias unless
            `additive`.
        """
        raise NotImplementedError

    def fit(
        self, base: np.ndarray, members: list[np.ndarray]
    ) -> tuple[np.ndarray, Arrays, list[Arrays]] | None:
        """The weights with which the uses come closest to kernels of their own.

        Args:
            base: The shared kernel, `(num_inputs, num_outputs)`.
            members: The kernel that each use should have, likewise.

        Returns:
            The shared kernel, the shared weights and those of each use, or None to
            start as a new relaxation does.
        """
        return None

    def get_config(self) -> dict[str, Any]:
        """The fields of the dataclass."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Relaxation":
        """The inverse of `get_config`."""
        return cls(**config)


def normal(stddev: float) -> keras.Initializer:
    """An initializer of random weights."""
    return keras.initializers.RandomNormal(stddev=stddev)


def check_positive(name: str, value: Any) -> None:
    """Raises ValueError unless `value` is an integer of at least 1."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(
            f"`{name}` must be an integer of at least 1. Received: {name}={value!r}"
        )


def check_rank(rank: int, kernel: Kernel) -> None:
    """Raises ValueError if a kernel has no `rank` independent columns or rows."""
    limit = min(kernel.num_inputs, kernel.num_outputs)
    if rank > limit:
        raise ValueError(
            f"`rank` must be at most the smaller side of every kernel; that of "
            f"'{kernel.layer.name}' is {kernel.num_inputs} x {kernel.num_outputs}. "
            f"Received: rank={rank}. Use at most {limit}, or relax other parts only: "
            "relax={'part': ...}"
        )
