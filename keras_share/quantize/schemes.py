"""How many bits weights and activations have."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """Numbers of bits.

    Attributes:
        weights: Bits of the kernels.
        activations: Bits of the activations; None leaves them in floating point.
    """

    weights: int
    activations: int | None


SCHEMES = {
    "int8": Scheme(8, 8),
    "int16": Scheme(8, 16),
    "int4": Scheme(4, 8),
    "dynamic": Scheme(8, None),
    "dynamic_int4": Scheme(4, None),
}


def find_scheme(name: str) -> Scheme:
    """The scheme of a name.

    Raises:
        ValueError: If there is none.
    """
    if name not in SCHEMES:
        raise ValueError(
            f"`scheme` must be one of {', '.join(SCHEMES)}. Received: scheme={name!r}"
        )
    return SCHEMES[name]
