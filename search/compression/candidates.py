"""`Designer`: the candidates of a compression, from hyperparameters to models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import keras_tuner as kt
import pandas as pd

from keras_share.layers.relax.kernel import kernel_of
from keras_share.layers.relax.scale import Scale
from keras_share.layers.sublayers import sublayers
from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.retrofit.find_sites import find_kinds, find_sites
from keras_share.retrofit.nodes import walk
from keras_share.retrofit.share import share
from keras_share.search.compression.originals import Originals
from keras_share.search.space.sharing_space import (
    DESIGNS,
    RELAXATIONS,
    SharingDesign,
    sharing_space,
)

ALL = "all"
_RANKS = (2, 4, 8, 16)
_WHOLE = "sharing"


@dataclass(frozen=True)
class Candidate:
    """What becomes one file; `layers` is the class of those that share, or `"all"`."""

    design: SharingDesign
    quantization: str
    layers: str = ALL

    @property
    def is_shared(self) -> bool:
        """Whether anything in it shares."""
        return self.design.is_shared

    def __str__(self) -> str:
        if not self.is_shared:
            width = self.design.width
            what = "unshared" + (f" width {width}" if width is not None else "")
        else:
            what = str(self.design)
            what += f" of {self.layers}" if self.layers != ALL else ""
        return f"{what}, {self.quantization}"


class Designer:
    """Makes candidates of trained models that share nothing.

    Without widths the model has one; under `max_bytes` they are solved by what
    `size_of` predicts. It is a ValueError if nothing in the model can share.
    """

    def __init__(
        self,
        originals: Originals,
        widths: Sequence[int],
        quantizations: Sequence[str],
        relax: Sequence[str] = RELAXATIONS,
        max_bytes: float | None = None,
        size_of: Callable[[Candidate], float] | None = None,
    ):
        self.originals = originals
        self.widths = list(widths)
        self.quantizations = list(quantizations)
        self.max_bytes = max_bytes if widths else None
        self.size_of = size_of
        model = originals.fresh()
        self.sites = find_sites(model)
        if not len(self.sites):
            try:
                share(model, "shared")
            except ValueError as error:
                raise ValueError(
                    "A model to compress must have blocks that repeat, else nothing can"
                    f" be shared. {error} `keras_share.quantize_model` and "
                    "`export_tflite` make it smaller as it is."
                ) from error
        self._named: dict[int | None, list[tuple[str, pd.DataFrame]]] = {}
        self.relax = ["none", *(one for one in relax if one != "none")]
        if not _can_relax(model):
            self.relax = ["none"]

    @cached_property
    def kinds(self) -> dict[str, int]:
        """The number of sites of each kind of block."""
        return self.sites.groupby("kind", sort=False)["site"].nunique().to_dict()

    @cached_property
    def classes(self) -> list[str]:
        """Classes of layers with kernels, each of which may share alone."""
        has_kernel = self.sites["shapes"].map(lambda s: any(len(one) > 1 for one in s))
        found = self.sites[has_kernel]["class"].unique()
        return [ALL, *found] if len(found) > 1 else [ALL]

    @cached_property
    def ranks(self) -> list[int]:
        """The ranks that are at most half of what the smallest kernel has."""
        sites = [kind.sites[0] for kind in find_kinds(walk(self.originals.fresh()))]
        parts = [p for site in sites for node in site for p in sublayers(node.op)]
        kernels = filter(None, map(kernel_of, parts))
        least = min((min(k.num_inputs, k.num_outputs) for k in kernels), default=0)
        return [rank for rank in _RANKS if 2 * rank <= least]

    def candidate(self, hp: kt.HyperParameters) -> Candidate:
        """The candidate of a trial."""
        quantization, layers = self.quantizations[0], ALL
        if len(self.quantizations) > 1:
            quantization = hp.Choice("quantization", self.quantizations)
        if len(self.classes) > 1:
            layers = hp.Choice("layers", self.classes)
        size_of, [*counts] = self.size_of, self.kinds.values()
        design = sharing_space(
            hp,
            self.kinds if len(counts) > 1 else counts[0],
            _WHOLE,
            families=(*DESIGNS, "unshared"),
            relax=[one for one in self.relax if one != "low_rank" or self.ranks],
            ranks=self.ranks,
            widths=self.widths,
            max_bytes=self.max_bytes,
            size_of=size_of
            and (lambda design: size_of(Candidate(design, quantization, layers))),
        )
        assert design is not None  # it is in no scope
        return Candidate(design, quantization, layers)

    def starts(self) -> list[dict[str, Any]]:
        """What a search should begin with: points of its space.

        The model only quantized, what the literature found to cost least, and what is
        smallest.
        """
        names = {
            _WHOLE if len(self.kinds) == 1 else f"{_WHOLE}_{kind}": count
            for kind, count in self.kinds.items()
        }

        def point(pattern: str, quantization: str = self.quantizations[0]) -> dict:
            patterns = dict.fromkeys(names, pattern)
            if pattern == "twice":
                patterns = {n: f"sequence:{-(-c // 2)}" for n, c in names.items()}
            plain = {"layers": ALL, f"{_WHOLE}.relax": "none"}
            return {**plain, "quantization": quantization, **patterns}

        points = [point("unshared"), point("twice"), point("shared")]
        points += [point("unshared", one) for one in self.quantizations[1:]]
        if all(count > 2 for count in names.values()):
            points.append(point("sandwich"))
        hp = kt.HyperParameters()
        self.candidate(hp)
        known = {parameter.name for parameter in hp.space}
        return [{n: v for n, v in point.items() if n in known} for point in points]

    def smallest(self, quantization: str) -> Candidate:
        """What shares all it can, in the least width."""
        return self._alike("shared", quantization, min(self.widths, default=None))

    def unshared(self, quantization: str) -> Candidate:
        """The model only quantized."""
        return self._alike("unshared", quantization, max(self.widths, default=None))

    def _alike(self, pattern: str, quantization: str, width: int | None) -> Candidate:
        patterns = {
            kind if len(self.kinds) > 1 else "": SharingPattern.get(pattern, count)
            for kind, count in self.kinds.items()
        }
        return Candidate(SharingDesign(patterns, None, width), quantization)

    def build(self, candidate: Candidate, trained: bool = True) -> keras.Model:
        """A candidate, not compiled; by default with the weights of its original."""
        width = candidate.design.width
        groups: Any = self.groups(candidate)
        relax, data = candidate.design.relax, None
        if not groups:
            groups, relax = dict.fromkeys(self.kinds, "unshared"), None
        elif trained:
            data = self.originals.samples()
        original = self.originals.trained if trained else self.originals.fresh
        return share(original(width), groups, relax=relax, data=data)

    def _sites_of(self, width: int | None) -> list[tuple[str, pd.DataFrame]]:
        """The sites of each kind, with the names that layers have at a width."""
        if width not in self._named:
            sites = find_sites(self.originals.fresh(width))
            found = [rows for _, rows in sites.groupby("kind", sort=False)]
            counts = [rows["site"].nunique() for rows in found]
            if counts != list(self.kinds.values()):
                raise ValueError(
                    "A model must have the same blocks in each width. Received: "
                    f"{counts} blocks of each kind in width {width}, and "
                    f"{list(self.kinds.values())} in the widest."
                )
            self._named[width] = list(zip(self.kinds, found, strict=True))
        return self._named[width]

    def groups(self, candidate: Candidate) -> list[list[str]]:
        """The names of the layers that are to share one another's weights."""
        found = []
        for kind, rows in self._sites_of(candidate.design.width):
            patterns = candidate.design.patterns
            pattern = patterns[kind] if len(self.kinds) > 1 else patterns[""]
            takes_part = (rows["class"] == candidate.layers) | (candidate.layers == ALL)
            for _, layers in rows[takes_part].groupby("position"):
                names = layers.sort_values("site")["layer"].tolist()
                found += [[names[i] for i in group] for group in pattern.groups]
        return [group for group in found if len(group) > 1]


def _can_relax(model: keras.Model) -> bool:
    try:
        share(model, "shared", relax=Scale())
    except ValueError as error:
        if "`relax`" not in str(error):
            raise
        return False
    return True
