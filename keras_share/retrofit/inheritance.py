"""`inherit`: starts a candidate from the weights of a network that was trained once."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import keras

from keras_share.layers.copying import derive
from keras_share.layers.relax.relaxed import Relaxed
from keras_share.layers.shared_stack import SharedStack
from keras_share.layers.sublayers import sublayers
from keras_share.layers.tied import block_of
from keras_share.retrofit.fit import NO_MOMENTS, Use, carry_uses, form_of
from keras_share.retrofit.keras_file import load_keras_file
from keras_share.retrofit.moments import input_moments
from keras_share.retrofit.nodes import Node, walk


@dataclass(frozen=True)
class InheritReport:
    """What `inherit` did.

    Attributes:
        inherited: Paths of the layers that took weights of the donor; `stack/2` is the
            third site of a stack.
        fresh: Paths of those left as they were, some or all of whose weights the donor
            could not give.
    """

    inherited: tuple[str, ...]
    fresh: tuple[str, ...]


def inherit(
    model: keras.Model,
    donor: keras.Model | str | os.PathLike,
    *,
    data: Any = None,
    strict: bool = True,
) -> InheritReport:
    """Gives a new model the weights of a trained one that shares otherwise.

    The donor is usually the same network without sharing, trained once; then each
    candidate of a search needs a brief fine-tuning only. Every weight of the model
    starts at the mean of what the donor has at the places that use it: a kernel that
    three sites of a stack share at the mean of the kernels of these sites, and what a
    site has for itself (normalization with its moving statistics) at what the donor's
    site has. With a relaxation each site starts as close to its own kernel as the
    relaxation allows, such as `LowRank` at the best approximation of what the mean
    lacks. These are the "average" start and the low-rank start of Relaxed Recursive
    Transformers (arXiv 2410.20672).

    Layers are matched by name, those in nested models by path, the sites of a
    `keras_share.SharedStack` by number; the donor's stack may have any pattern. Where
    the names of the two differ, because the layers are numbered otherwise or shared by
    hand, Functional and Sequential models are matched call by call if both make the
    same calls; else what the donor has no layer of that name for stays as it is. The
    donor is only read, and no state of an optimizer is carried over.

    Args:
        model: A built model, which is changed.
        donor: A built model, or the path to one in a `.keras` file, which is loaded
            once and again only when the file changes.
        data: Samples of the donor's inputs, as `model.predict` takes arrays; a few
            hundred do. With them, a kernel that several sites share starts at the one
            whose outputs are closest to theirs on what each of them meets, and not at
            their mean: see `keras_share.share`.
        strict: Whether a layer whose weights have other shapes than the donor's is an
            error. Else it stays as it is.

    Returns:
        An `InheritReport`.

    Raises:
        TypeError: If `donor` is neither a model nor a path.
        ValueError: If a model is not built, a layer has other weights in the donor, or
            nothing matches.

    Example:
    >>> import keras
    >>> from keras_share import SharedStack
    >>> from keras_share.retrofit.inheritance import inherit
    >>> def network(pattern):
    ...     stack = SharedStack(keras.layers.Dense(8), pattern, name="stack")
    ...     return keras.Sequential([keras.Input((8,)), stack])
    >>> donor = network("ABCD")
    >>> inherit(network("AABB"), donor).inherited
    ('stack/0', 'stack/1', 'stack/2', 'stack/3')
    """
    if not isinstance(donor, keras.Model):
        path = os.path.abspath(check_donor(donor))
        donor = _load_once(path, os.stat(path).st_mtime_ns)
    for role, network in (("model", model), ("donor", donor)):
        if not network.built:
            raise ValueError(
                f"`{role}` must be built, to have weights. Give it a `keras.Input`, or "
                f"call it once. Received: '{network.name}', not built"
            )
    moments = NO_MOMENTS if data is None else input_moments(donor, data)
    pairs, fresh = _pair(model, donor)
    carried, inherited = [], []
    for path, layer, source in pairs:
        uses, sources = _uses(path, layer), _uses(path, source)
        problem = _difference(uses, sources)
        if problem is None:
            pairs_of_uses = zip(uses, sources, strict=True)
            carried += [
                (place, use, source) for (place, use), (_, source) in pairs_of_uses
            ]
            inherited.append(layer)
        elif strict:
            raise ValueError(
                f"The layer '{path}' differs from that of the donor: {problem}. Train "
                "a donor for each such choice (width, number of sites) and inherit "
                "from the one that fits, keep the choice out of the search, or leave "
                "out `inherit`; `strict=False` leaves such layers as they are."
            )
        else:
            fresh += [place for place, _ in uses]
    if not carried:
        raise ValueError(
            f"The donor '{donor.name}' has no layer that fits one of the model "
            f"'{model.name}'. Give the layers the same names in both. Received: layers "
            f"{fresh} and donor layers {[path for path, _ in _units(donor)]}"
        )
    unfit = carry_uses(((use, source) for _, use, source in carried), moments=moments)
    fresh += [place for place, use, _ in carried if use in unfit]
    for layer in inherited:
        if isinstance(layer, keras.Layer):
            derive(layer)
    paths = dict.fromkeys(place for place, _, _ in carried)
    return InheritReport(
        tuple(path for path in paths if path not in fresh),
        tuple(dict.fromkeys(fresh)),
    )


def check_donor(donor: Any) -> Any:
    """Returns what may be a donor, or None, before work is put in."""
    if donor is None or isinstance(donor, keras.Model):
        return donor
    if not isinstance(donor, (str, os.PathLike)):
        raise TypeError(
            "A donor of weights must be a Keras model or the path to a `.keras` file. "
            f"Received: {donor!r}"
        )
    if not os.path.isfile(donor):
        raise FileNotFoundError(
            "The donor of weights must be an existing `.keras` file. Received: "
            f"{os.fspath(donor)!r}. Train the network without sharing once and save it "
            "there."
        )
    return donor


@lru_cache(maxsize=4)
def _load_once(path: str, changed: int) -> keras.Model:
    return load_keras_file(path)


# Which layer of the donor stands for which of the model.

Pairs = list[tuple[str, Any, Any]]


def _pair(model: keras.Model, donor: keras.Model) -> tuple[Pairs, list[str]]:
    """Triples of path, layer and the donor's layer; paths of layers without one."""
    units, sources = dict(_units(model)), dict(_units(donor))
    if units.keys() != sources.keys():
        calls = _same_calls(model, donor)
        if calls is not None:
            return calls, []
    pairs = [
        (path, unit, sources[path]) for path, unit in units.items() if path in sources
    ]
    return pairs, [path for path in units if path not in sources]


def _units(layer: keras.Layer, path: str = "") -> Iterator[tuple[str, Any]]:
    """The layers with weights, by path: stacks whole, models and stack holders opened.

    With a list of their weights that are in none of their layers.
    """
    seen: set[int] = set()
    for child in _children(layer):
        seen.update(id(v) for v in child.weights)
        inner = f"{path}{child.name}"
        if not child.weights:
            continue
        if isinstance(child, keras.Model) or _holds_stack(child):
            yield from _units(child, f"{inner}/")
        else:
            yield inner, child
    rest = [v for v in layer.weights if id(v) not in seen]
    if rest:
        yield f"{path}weights", rest


def _children(layer: keras.Layer) -> list[keras.Layer]:
    if isinstance(layer, keras.Model):
        return layer.layers
    parts = list(sublayers(layer))[1:]
    below = {p for part in parts for p in list(sublayers(part))[1:]}
    return [part for part in parts if part not in below]


def _holds_stack(layer: keras.Layer) -> bool:
    return not isinstance(layer, SharedStack) and any(
        isinstance(part, SharedStack) for part in sublayers(layer)
    )


def _same_calls(model: keras.Model, donor: keras.Model) -> Pairs | None:
    """Pairs of the layers that two graphs call, if they make the same calls."""
    try:
        nodes = walk(model)
        if donor not in _WALKS:
            _WALKS[donor] = walk(donor)
    except ValueError:  # a model that is no graph of layers
        return None
    sources = _WALKS[donor]
    if _form(nodes) != _form(sources):
        return None
    return [
        (node.path, node.op, source.op)
        for node, source in zip(nodes, sources, strict=True)
        if node.has_weights
    ]


# To walk a model calls its layers once more, which they remember.
_WALKS: WeakKeyDictionary[keras.Model, list[Node]] = WeakKeyDictionary()


def _form(nodes: list[Node]) -> list[tuple]:
    order = {node: i for i, node in enumerate(nodes)}
    return [
        (type(_bare(node.op)), tuple(order[source] for source in node.sources))
        for node in nodes
    ]


def _bare(layer: Any) -> Any:
    """The layer without the tie and the relaxations around it."""
    block = block_of(layer)
    return block.inner_layer() if isinstance(block, Relaxed) else block


# What a layer computes with.


Uses = list[tuple[str, Use]]


def _uses(path: str, unit: Any) -> Uses:
    """The uses of a layer, or of a list of weights, by path."""
    if isinstance(unit, list):
        return [(path, Use(form_of(unit), unit, {}))]
    if isinstance(unit, SharedStack):
        return [
            (f"{path}/{i}", Use.of(site, _bare(site)))
            for i, site in enumerate(unit.sites)
        ]
    return [(path, Use.of(unit, _bare(unit)))]


def _difference(uses: Uses, sources: Uses) -> str | None:
    if len(uses) != len(sources):
        return f"it has {len(uses)} sites, in the donor {len(sources)}"
    for (_, use), (_, source) in zip(uses, sources, strict=True):
        if use.form != source.form:
            return f"its weights are {use.form}, in the donor {source.form}"
    return None
