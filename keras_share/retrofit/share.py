"""`share`: ties layers of a model that exists."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import keras
import numpy as np

from keras_share.flat.built_model import check_weights
from keras_share.layers import private as private_spec
from keras_share.layers.relax.kernel import kernel_of
from keras_share.layers.relax.relaxed import Relax, relax_layer
from keras_share.layers.sublayers import sublayers
from keras_share.layers.tied import Tied
from keras_share.layers.tied_cloner import TiedCloner, warn_of_lost_methods
from keras_share.pattern.sharing_pattern import PatternLike, SharingPattern
from keras_share.retrofit.composites import open_composites
from keras_share.retrofit.fit import (
    NO_MOMENTS,
    Use,
    carry,
    carry_uses,
    check_init,
    finish,
)
from keras_share.retrofit.kinds import Kind, not_seen, shareable, some_kinds
from keras_share.retrofit.moments import Moments, input_moments
from keras_share.retrofit.nodes import Node, walk
from keras_share.retrofit.private_parts import check_private, private_of
from keras_share.retrofit.signature import difference


def share(
    model: keras.Model,
    pattern: PatternLike | Mapping[str, PatternLike] | Sequence[Sequence[str]],
    *,
    private: private_spec.Private = private_spec.NORMALIZATION,
    init: str = "mean",
    relax: Relax = None,
    data: Any = None,
) -> keras.Model:
    """Makes a model whose layers share by a pattern, with its trained weights.

    In the new model the first layer of each group stands as it was, and the further
    ones are `keras_share.Tied` uses of it, under their old names. Names of layers,
    inputs and outputs stay; `model` itself is not changed. The result is not
    compiled: it has fewer weights than an optimizer of the old model has states for,
    so compile it and train on. A model of a class with a constructor of its own comes
    back as a plain `keras.Model`, with a warning if it trains in its own way.

    Args:
        model: A built Sequential or Functional model, with nested ones or not.
        pattern: What shares. A pattern as `SharingPattern.get` reads it, for every
            kind that `find_sites` lists (`"shared"`, `"cycle:2"`; one label per site
            if the kinds have as many sites as there are labels); a dict from the name
            of a kind to such a pattern, for these kinds only; or a list of groups,
            each a list of layers as `find_sites` names them, tied to one another.
        private: What each site keeps for itself; see `Tied`. Names that only some of
            the shared layers have are private there.
        init: Where a shared weight starts: at the `"mean"` of those of its group, or
            at that of the `"first"` or `"last"` member. Private weights keep their
            values.
        relax: How sites may depart from the weights that they share, as
            `keras_share.layers.Relaxed` takes it, for the layers that have kernels to
            relax. Each site starts as close to its own kernels as the relaxation
            allows: `LowRank(8)` at the best approximation of rank 8 of what the shared
            kernel lacks.
        data: Samples of the model's inputs, as `model.predict` takes arrays; a few
            hundred do. With them, a kernel for several sites starts at the one whose
            outputs are closest to theirs on what each of them meets (RegMean, arXiv
            2212.09849), and not at their mean: it loses less before it trains on.

    Returns:
        The new model.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model, nothing
            in it repeats, a pattern doesn't fit its kind, layers can't be tied, or
            `relax` doesn't fit them.

    Example:
    >>> import keras, keras_share
    >>> model = keras.Sequential([keras.Input((8,))])
    >>> for i in range(6):
    ...     model.add(keras.layers.Dense(8, name=f"dense_{i}"))
    >>> keras_share.share(model, "cycle:2").count_params()
    144
    >>> keras_share.share(model, [["dense_0", "dense_5"]]).count_params()
    360
    """
    check_init(init)
    if data is not None and init != "mean":
        raise ValueError(
            "`data` chooses the kernel that is closest to all of a group, in place of "
            f"their mean. Received: `data` with init={init!r}. Leave one of them out."
        )
    private = private_spec.standardize(private)
    closed: dict[str, str] = {}
    opened = open_composites(model, closed)
    check_weights(model)
    groups = _groups(opened, pattern, closed)
    if groups:
        members = [layer for group in groups for layer in group]
        check_private(private, groups)
        _check_relax(relax, members)
    moments = NO_MOMENTS if data is None else input_moments(opened, data)
    sharer = _Sharer(groups, private, init, relax, moments)
    shared = sharer.model(opened)
    sharer.carry_weights()
    warn_of_lost_methods(model, shared)
    return shared


class _Sharer(TiedCloner):
    """Copies layers, those of a group as uses of the copy of its first."""

    def __init__(
        self,
        groups: list[list[keras.Layer]],
        private: private_spec.Private,
        init: str,
        relax: Relax,
        moments: Mapping[keras.Variable, Moments],
    ):
        super().__init__()
        self._moments = moments
        self._groups = {
            layer: group
            for group in groups
            if not _keeps_all(group[0], private)
            for layer in group
        }
        self._private = private
        self._init = init
        self._relax = relax
        self._copied: list[tuple[keras.Layer, keras.Layer]] = []
        self._bases: dict[keras.Layer, keras.Layer] = {}  # by first member: its copy

    def carry_weights(self) -> None:
        """Gives the copies the weights of the layers, once the new model is built."""
        for layer, copy in self._copied:
            carry(copy, layer)
        for first, base in self._bases.items():
            group = self._groups[first]
            uses = [Use.of(self(layer), base) for layer in group]
            sources = [Use.of(layer, layer) for layer in group]
            pairs = zip(uses, sources, strict=True)
            if carry_uses(pairs, self._init, self._moments):
                raise ValueError(
                    "Trained weights can be fitted by one relaxation per kernel. "
                    f"Received: relax={self._relax!r} for '{first.name}'"
                )
            finish(base, first)

    def copy(self, layer: keras.Layer, name: str) -> keras.Layer:
        group = self._groups.get(layer)
        if group is None:
            copy = super().copy(layer, name)
            self._copied.append((layer, copy))
            return copy
        first = group[0]
        if layer is not first:
            return Tied(self(first), private_of(first, self._private), name=name)
        base = self._bases[first] = super().copy(first, name)
        if self._relax is None or not _can_relax(first):
            return base
        return relax_layer(base, self._relax, len(group), name)


def _keeps_all(layer: keras.Layer, private: private_spec.Private) -> bool:
    own = private_spec.private_variables(layer, private_of(layer, private))
    return len(own) == len(layer.weights)


def _can_relax(layer: keras.Layer) -> bool:
    return any(kernel_of(part) for part in sublayers(layer))


def _check_relax(relax: Relax, members: list[keras.Layer]) -> None:
    if relax is None:
        return
    if not any(map(_can_relax, members)):
        raise ValueError(
            "`relax` acts on kernels of Dense, EinsumDense and ungrouped, "
            f"channels-last convolution layers, and none of the {len(members)} layers "
            f"to be tied has one. Received: relax={relax!r}. Leave it None, or tie "
            "other layers."
        )
    for variable in {v.path: v for layer in members for v in layer.weights}.values():
        if not np.all(np.isfinite(keras.ops.convert_to_numpy(variable.value))):
            raise ValueError(
                "A relaxation is fitted to weights, which must be finite. Received: "
                f"NaN or infinity in '{variable.path}'"
            )


# Reading `pattern`.


def _groups(
    model: keras.Model, pattern: Any, closed: Mapping[str, str]
) -> list[list[keras.Layer]]:
    """The layers to tie, in groups of two and more."""
    nodes = walk(model)
    if isinstance(pattern, (list, tuple)) and any(
        isinstance(group, (list, tuple)) for group in pattern
    ):
        return _named_groups(nodes, pattern, closed)
    kinds = {kind.name: kind for kind in some_kinds(model, nodes, closed)}
    if not isinstance(pattern, Mapping):
        pattern = dict.fromkeys(kinds, pattern)
    groups = []
    for name, spec in pattern.items():
        if name not in kinds:
            known = {name: len(kind.sites) for name, kind in kinds.items()}
            raise ValueError(
                f"There is no kind of sites {name!r}. Known, with their numbers of "
                f"sites: {known}. Received: pattern={pattern!r}"
            )
        groups += _groups_of_kind(kinds[name], spec)
    return groups


def _groups_of_kind(kind: Kind, spec: Any) -> list[list[keras.Layer]]:
    try:
        pattern = SharingPattern.get(spec, len(kind.sites))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"The pattern of the kind '{kind.name}' must fit its {len(kind.sites)} "
            f"sites. {error} Name a pattern per kind in a dict: "
            f"{{{kind.name!r}: ...}}."
        ) from error
    return [
        [node.op for node in corresponding]
        for group in pattern.groups
        if len(group) > 1
        for corresponding in zip(*(kind.sites[i] for i in group), strict=True)
    ]


def _named_groups(
    nodes: list[Node], pattern: Sequence, closed: Mapping[str, str]
) -> list[list[keras.Layer]]:
    by_path = {node.path: node for node in nodes if node.has_weights}
    free = shareable(nodes, several=True)
    seen: set[str] = set()
    groups = []
    for names in pattern:
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise ValueError(
                "A group must be a list of names of layers. "
                f"Received: {names!r} in pattern={pattern!r}"
            )
        for name in names:
            _check_layer(name, by_path, free, closed)
            if name in seen:
                raise ValueError(
                    f"A layer can be in one group only. Received: '{name}' twice in "
                    f"pattern={pattern!r}"
                )
            seen.add(name)
        members = sorted((by_path[name] for name in names), key=nodes.index)
        for other in members[1:]:
            reason = difference(members[0].op, other.op)
            if reason is not None:
                raise ValueError(
                    "Layers that share must have the same class, config (but for "
                    "names, seeds and initializers) and shapes of weights. "
                    f"'{members[0].path}' and '{other.path}' differ in {reason}."
                )
        if len(members) > 1:
            groups.append([node.op for node in members])
    return groups


def _check_layer(
    name: str, by_path: dict[str, Node], free: set[Node], closed: Mapping[str, str]
) -> None:
    if name not in by_path:
        near = get_close_matches(name, by_path, n=8, cutoff=0)
        raise ValueError(
            f"The model has no layer {name!r} with weights. Those with the most "
            f"similar names: {near}.{not_seen(closed)}"
        )
    if by_path[name] not in free:
        raise ValueError(
            f"The layer '{name}' is shared already: it is part of a `Tied` or holds "
            "one. Take it apart with `keras_share.untie` first."
        )
