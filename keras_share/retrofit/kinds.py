"""Which nodes of a model are blocks that repeat."""

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import keras

from keras_share.layers.sublayers import is_normalization, sublayers
from keras_share.layers.tied import Tied
from keras_share.retrofit.nodes import Node
from keras_share.retrofit.repeating_blocks import Item, find_repeats
from keras_share.retrofit.signature import signature


@dataclass(frozen=True)
class Kind:
    """A kind of sites, where a block repeats: for each site its layers, in order."""

    sites: tuple[tuple[Node, ...], ...]

    @property
    def name(self) -> str:
        """The path of the first layer of the first site."""
        return self.sites[0][0].path


def find_kinds(nodes: list[Node]) -> list[Kind]:
    """The blocks that repeat among the nodes of a model."""
    free = shareable(nodes)
    positions = {node: i for i, node in enumerate(nodes)}
    items = [
        Item(
            token=_token(node, node in free),
            inputs=tuple(positions[source] for source in node.sources),
            counts=node in free and not is_normalization(node.op),
        )
        for node in nodes
    ]
    return [
        Kind(tuple(tuple(nodes[i] for i in site if nodes[i] in free) for site in sites))
        for sites in find_repeats(items)
    ]


def some_kinds(
    model: keras.Model, nodes: list[Node], closed: Mapping[str, str]
) -> list[Kind]:
    """The blocks that repeat; it is a ValueError if there are none.

    It tells of the layers that stayed closed, by name, and why.
    """
    kinds = find_kinds(nodes)
    if not kinds:
        raise ValueError(_nothing_repeats(model, nodes) + not_seen(closed))
    return kinds


def not_seen(closed: Mapping[str, str]) -> str:
    """A sentence for each layer that can't be opened, and why."""
    return "".join(
        f" What is inside of '{name}' was not seen, as it can't be opened: {reason}."
        for name, reason in closed.items()
    )


def shareable(nodes: list[Node], several: bool = False) -> set[Node]:
    """The nodes of layers with weights that nothing else in the model uses.

    With `several` also those of layers that the model calls several times.
    """
    uses = Counter({node.op for node in nodes} if several else [n.op for n in nodes])
    for node in nodes:
        parts = list(sublayers(node.op)) if node.has_weights else []
        if any(isinstance(part, Tied) for part in parts):
            # The layer itself and all inside, of which one is used elsewhere.
            uses.update(2 * parts)
    return {node for node in nodes if node.has_weights and uses[node.op] == 1}


def _nothing_repeats(model: keras.Model, nodes: list[Node]) -> str:
    uses = Counter(node.op for node in nodes if node.has_weights)
    shared = [f"'{op.name}' {n} times" for op, n in uses.items() if op and n > 1]
    already = ""
    if shared:
        already = f" It shares already: it uses the layer {', '.join(shared)}."
    tied = [
        f"'{op.name}'"
        for op in uses
        if op and any(isinstance(part, Tied) for part in sublayers(op))
    ]
    if tied:
        already = (
            f" It shares already, in {', '.join(tied)}: take it apart first, with "
            "`keras_share.untie`."
        )
    return (
        f"No layers of the model '{model.name}' repeat in a row with equal class, "
        "config and shapes of weights: there is nothing that a pattern could "
        f"share.{already} Name layers to tie, `[['dense_1', 'dense_5'], ...]`, or see "
        "`keras_share.SharedStack` to build a model that shares."
    )


def _token(node: Node, free: bool) -> Hashable:
    if free:
        return signature(node.op)
    if isinstance(node.op, Tied):
        return node.op.layer  # as the layer itself: it is the same in all sites
    if node.has_weights:
        return node.op
    return type(node.op).__name__ if node.op else node
