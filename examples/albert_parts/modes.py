"""What the blocks of an encoder share, read from one argument."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mode:
    """A way of sharing: `pattern` and `relax` of a `keras_share.SharedStack`."""

    pattern: Any
    relax: Any = None


# The rows of `benchmarks/albert_modes.py`.
MODES = (
    "dense",
    "shared",
    "attention=shared",
    "feedforward=shared",
    "sequence:3",
    "cycle:3",
    "shared+lowrank:8",
)


def parse_mode(text: str) -> Mode:
    """Reads a way of sharing from the command line.

    Args:
        text: A pattern as `keras_share.SharingPattern.get` reads it (`"dense"` is
            another name for `"unshared"`), or the patterns of some parts of the block,
            `"attention=shared,feedforward=sequence:2"`, of which those not named share
            nothing. `"+lowrank:8"` at the end gives each site private low-rank deltas.

    Raises:
        ValueError: If a part has no pattern, or the relaxation is unknown.
    """
    sharing, plus, relaxation = text.partition("+")
    pattern: Any = "unshared" if sharing == "dense" else sharing
    if "=" in sharing:
        pairs = [part.partition("=")[::2] for part in sharing.split(",")]
        if not all(name and spec for name, spec in pairs):
            raise ValueError(
                "Each part of a mode must have a pattern, as in "
                f"'attention=shared,feedforward=sequence:2'. Received: {text!r}"
            )
        pattern = dict(pairs)
    return Mode(pattern, _relaxation(relaxation, text) if plus else None)


def _relaxation(spec: str, text: str) -> Any:
    from keras_share import LowRank

    name, _, rank = spec.partition(":")
    if name != "lowrank" or not rank.isdecimal():
        raise ValueError(
            "The relaxation of a mode must be 'lowrank:' and a rank, as in "
            f"'shared+lowrank:8'. Received: {text!r}"
        )
    return LowRank(int(rank))
