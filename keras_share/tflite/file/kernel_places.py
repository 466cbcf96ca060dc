"""The operators whose kernel LiteRT's CPU delegate packs, and where they have what."""

from typing import NamedTuple


class Places(NamedTuple):
    """Places among an operator's inputs; None for what it doesn't take."""

    activations: int | None
    kernel: int | None
    bias: int | None


NO_KERNEL = Places(None, None, None)
KERNEL_OPERATORS = {
    "BATCH_MATMUL": Places(0, 1, None),
    "CONV_2D": Places(0, 1, 2),
    "DEPTHWISE_CONV_2D": Places(0, 1, 2),
    "FULLY_CONNECTED": Places(0, 1, 2),
    "TRANSPOSE_CONV": Places(2, 1, 3),
}
