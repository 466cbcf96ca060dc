"""`Candidate`: which blocks share, and how strictly."""

import itertools
from dataclasses import dataclass
from typing import Any

import keras

import keras_share as ks
from proof.block import MOMENTUM, PRIVATE, ProofBlock


@dataclass(frozen=True)
class Candidate:
    """One way to spend the bytes: a depth, a pattern and a way to share.

    Args:
        name: Labels of the pattern, one per block, which may be followed by
            `" rank 4"`, private matrices of that rank beside the shared kernels, or by
            `" expand"`, to share only the first of the two dense layers.
    """

    name: str

    @property
    def pattern(self) -> ks.SharingPattern:
        """Which blocks share."""
        return ks.SharingPattern.get(self.name.split()[0])

    @property
    def shares(self) -> bool:
        """Whether any block shares with another one."""
        return self.pattern.num_groups < self.pattern.num_sites

    @property
    def side(self) -> str:
        """`"shared"` or `"unshared"`."""
        return "shared" if self.shares else "unshared"

    def unshared(self) -> "Candidate":
        """As many blocks that share nothing."""
        names = ks.SharingPattern.get("unshared", self.pattern.num_sites)
        return Candidate(str(names))

    def stack(self, **block: Any) -> ks.SharedStack:
        """The blocks as a layer.

        Args:
            **block: Arguments of `ProofBlock`.
        """
        _, _, how = self.name.partition(" ")
        pattern: Any = self.pattern
        private: Any = PRIVATE
        relax = None
        if how == "expand":
            pattern, private = {"expand": self.pattern}, ()
        elif how.startswith("rank "):
            rank = ks.LowRank(int(how.removeprefix("rank ")))
            relax = {"expand": rank, "project": rank}
        numbers = itertools.count()
        return ks.SharedStack(
            lambda: ProofBlock(name=f"block_{next(numbers)}", **block),
            pattern,
            private,
            relax=relax,
            name="stack",
        )


def normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Batch normalization as in the blocks."""
    return keras.layers.BatchNormalization(momentum=MOMENTUM, name=name)(x)
