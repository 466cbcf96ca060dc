"""`open_composites`: the blocks inside of a layer become layers of a nested model."""

from typing import Any

import keras

from keras_share.flat.masks import mask_of, set_mask
from keras_share.flat.on_tensors import owner_of
from keras_share.flat.program import Program, with_masks
from keras_share.flat.tensors import fresh_input, replaced, tensors
from keras_share.flat.written import Refusal
from keras_share.layers.held_weight import HeldWeight
from keras_share.layers.relax.relaxed import Relaxed
from keras_share.layers.sublayers import sublayers
from keras_share.layers.tied import Tied
from keras_share.layers.tied_cloner import TiedCloner
from keras_share.layers.transposed import Transposed
from keras_share.retrofit.kinds import find_kinds, shareable
from keras_share.retrofit.nodes import walk

_CLOSED = (Relaxed, Tied, Transposed, keras.layers.RNN)


def open_composites(
    model: keras.Model, closed: dict[str, str] | None = None
) -> keras.Model:
    """A model in which blocks inside of a layer are those of a nested model.

    A layer that repeats is a block itself. One that doesn't, but runs sublayers that
    repeat, as an encoder that holds a list of them does, becomes a nested model of the
    same name on the same sublayers; so does a subclassed model in this one. What its
    `call` does beside must be operations on tensors, in training as at inference;
    weights that these read become layers.

    Args:
        model: A built Sequential or Functional model, which stays as it is.
        closed: Where to note, by name, the layers that can't be opened, and why.

    Returns:
        The model itself if it has no such layer; else another one of its layers.
    """
    nodes = walk(model)
    kinds = find_kinds(nodes)
    blocks = {node.op for kind in kinds for site in kind.sites for node in site}
    composites = {
        node.op
        for node in shareable(nodes)
        if node.op not in blocks
        and not isinstance(node.op, _CLOSED)
        and len(list(sublayers(node.layer))) > 2
    }
    if not composites:
        return model
    opener = _Opener(composites, {} if closed is None else closed)
    opened = opener.model(model)
    return opened if opener.has_opened else model


def _held(layer: keras.Layer, variable: keras.Variable) -> HeldWeight:
    """A layer that has a weight of one that is opened, which operations read."""
    name = "_".join(variable.path.split("/")[-2:])
    held = HeldWeight.of(variable, owner_of(layer, variable), name=name)
    held.weight.assign(variable)
    return held


class _Opener(TiedCloner):
    """Keeps all layers but composites that have blocks inside."""

    def __init__(self, composites: set[keras.Operation], closed: dict[str, str]):
        super().__init__()
        self._composites = composites
        self._closed = closed
        self.has_opened = False

    def copy(self, layer: keras.Layer, name: str) -> keras.Layer:
        return layer

    def _sequential(self, model: keras.Sequential, name: str) -> keras.Model:
        [given] = model.inputs
        x = inputs = keras.Input(
            batch_shape=given.shape, dtype=given.dtype, name=given.name
        )
        for layer in model.layers:
            x = self.call(self(layer), x)
        return keras.Model(inputs, x, name=name)

    def call(self, layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        nested = (
            self._nested(layer, args, kwargs) if layer in self._composites else None
        )
        if nested is None:
            return super().call(layer, *args, **kwargs)
        self.has_opened = True
        given = with_masks((args, kwargs))
        return nested(given[0] if len(given) == 1 else given)

    def _nested(
        self, layer: keras.Layer, args: tuple, kwargs: dict[str, Any]
    ) -> keras.Model | None:
        """What a layer runs, if blocks are in it; of its arguments and their masks."""
        fresh = {x: fresh_input(x, name=x.name) for x in with_masks((args, kwargs))}
        for x, new in fresh.items():
            if mask_of(x) is not None:
                set_mask(new, fresh[mask_of(x)])
        inputs = list(fresh.values())
        args, kwargs = replaced((args, dict(kwargs)), fresh)
        try:
            program = Program(layer, args, kwargs, inference=False)
        except Refusal as refusal:
            self._closed[layer.name] = str(refusal)
            return None
        held = [_held(layer, v)(inputs[0]) for v in program.weights]
        outputs = program.replay(lambda op, a, k: op(*a, **k), held, biases=False)
        made = keras.tree.flatten(outputs)
        if len(tensors(made)) < len(made):
            return None
        parts = {*held, *(call.op for call in program.calls)}
        if len({op.name for op in parts}) < len(parts):
            return None  # a model's layers have names of their own
        found = keras.Model(
            inputs[0] if len(inputs) == 1 else inputs, outputs, name=layer.name
        )
        opened = open_composites(found, self._closed)
        return opened if opened is not found or find_kinds(walk(found)) else None
