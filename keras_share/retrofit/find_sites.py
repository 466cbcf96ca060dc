"""`find_sites`: which layers of a model can share."""

from typing import TYPE_CHECKING

import keras

from keras_share.retrofit.composites import open_composites
from keras_share.retrofit.kinds import find_kinds
from keras_share.retrofit.nodes import walk

if TYPE_CHECKING:
    import pandas


def find_sites(model: keras.Model) -> "pandas.DataFrame":
    """Lists the layers of a model that can share, one row per layer.

    Finds the blocks that repeat, also inside a flat graph: layers follow one another
    with the same connections, residual ones included. Two layers can share if their
    classes, configs and shapes of weights are equal, whatever their names, seeds and
    initializers. Layers without weights may differ. Blocks are found where they
    repeat in a row; what equals them elsewhere is a site as well. A nested model that
    is called several times, as the encoder of two inputs is, counts once. Not listed
    are blocks of normalization alone, and layers that a model calls several times, or
    that are part of a `Tied` or hold one.

    Args:
        model: A built Sequential or Functional model. Nested ones are opened, and
            layers and subclassed models in it that hold blocks that repeat.

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
        for kind in find_kinds(walk(open_composites(model)))
        for index, site in enumerate(kind.sites)
        for position, node in enumerate(site)
    ]
    return pandas.DataFrame(rows, columns=columns)
