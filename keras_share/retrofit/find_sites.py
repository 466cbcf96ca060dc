"""`find_sites`: which layers of a model can share."""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras

from keras_share.layers.sublayers import is_normalization, sublayers
from keras_share.layers.tied import Tied
from keras_share.retrofit.nodes import Node, walk
from keras_share.retrofit.repeating_blocks import Item, find_repeats
from keras_share.retrofit.signature import signature

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Kind:
    """A kind of sites, where a block repeats: for each site its layers, in order."""

    sites: tuple[tuple[Node, ...], ...]

    @property
    def name(self) -> str:
        """The path of the first layer of the first site."""
        return self.sites[0][0].path


def find_sites(model: keras.Model) -> "pandas.DataFrame":
    """Lists the layers of a model that can share, one row per layer.

    Finds the blocks that repeat, also inside a flat graph: layers follow one another
    with the same connections, residual ones included. Two layers can share if their
    classes, configs and shapes of weights are equal, whatever their names, seeds and
    initializers. Layers without weights may differ. Blocks are found where they
    repeat in a row; what equals them elsewhere is a site as well. Not listed are
    blocks of normalization alone, and layers that are used several times already, or
    are part of a `Tied` or hold one.

    Args:
        model: A built Sequential or Functional model. Nested ones are opened.

    Returns:
        A `pandas.DataFrame` with the columns `kind` (name of the block: the path of
        the first layer of its first site; `share` takes a pattern for each), `site`
        (0, 1, ... per kind), `position` (of the layer in its block: layers of one
        kind and position can share), `layer` (its name, after those of the nested
        models it is in, joined by "/"), `class`, `shapes` (of its weights) and
        `params`.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model.

    Example:
    >>> import keras, keras_share
    >>> model = keras.Sequential([keras.Input((8,))])
    >>> for i in range(3):
    ...     model.add(keras.layers.Dense(8, name=f"dense_{i}"))
    ...     model.add(keras.layers.BatchNormalization(name=f"norm_{i}"))
    >>> sites = keras_share.find_sites(model)
    >>> print(sites[["kind", "site", "position", "layer"]].to_string(index=False))
       kind  site  position   layer
    dense_0     0         0 dense_0
    dense_0     0         1  norm_0
    dense_0     1         0 dense_1
    dense_0     1         1  norm_1
    dense_0     2         0 dense_2
    dense_0     2         1  norm_2
    """
    import pandas

    columns = ["kind", "site", "position", "layer", "class", "shapes", "params"]
    rows = [
        (
            kind.name,
            index,
            position,
            node.path,
            type(node.op).__name__,
            tuple(tuple(v.shape) for v in node.layer.weights),
            node.layer.count_params(),
        )
        for kind in find_kinds(walk(model))
        for index, site in enumerate(kind.sites)
        for position, node in enumerate(site)
    ]
    return pandas.DataFrame(rows, columns=columns)


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


def shareable(nodes: list[Node]) -> set[Node]:
    """The nodes of layers with weights that nothing else in the model uses."""
    uses = Counter(node.op for node in nodes)
    for node in nodes:
        parts = list(sublayers(node.op)) if node.has_weights else []
        if any(isinstance(part, Tied) for part in parts):
            # The layer itself and all inside, of which one is used elsewhere.
            uses.update(2 * parts)
    return {node for node in nodes if node.has_weights and uses[node.op] == 1}


def _token(node: Node, free: bool) -> Hashable:
    if free:
        return signature(node.op)
    if isinstance(node.op, Tied):
        return node.op.layer  # as the layer itself: it is the same in all sites
    if node.has_weights:
        return node.op
    return type(node.op).__name__ if node.op else node
