"""The graph of a model as it is quantized: layers opened by their rules."""

from functools import partial
from typing import Any

import keras

from keras_share.flat.flat_graph import FlatGraph
from keras_share.flat.flatten import OWN_CALL, flatten
from keras_share.flat.folding import IDENTITY_LAYERS
from keras_share.flat.written import Written
from keras_share.layers.sublayers import sublayers
from keras_share.layers.substitute import accepts_training
from keras_share.layers.transposed import Transposed
from keras_share.quantize.rules import find_rule, operation_name
from keras_share.quantize.sixteen_bits import written_in_16_bits
from keras_share.quantize.weight_rules import (
    linear_then_activation,
    product_then_bias,
    split_activation,
)


def open_model(model: keras.Model, bits: int | None = 8) -> FlatGraph:
    """Flattens a model to steps that TFLite has integer operators for.

    What has a rule that writes it is written so. A layer without weights and without a
    rule is opened to the operations it runs.

    Args:
        model: A built Sequential or Functional model.
        bits: Bits of the activations.
    """
    transposed = [x for x in sublayers(model) if isinstance(x, Transposed)]
    both_ways = {x for t in transposed for x in (t, t.source)}
    return flatten(model, open_with=partial(_function, both_ways, bits))


def _function(
    both_ways: set[keras.Layer],
    bits: int | None,
    op: keras.Operation,
    args: tuple,
    kwargs: dict,
) -> Any:
    if op in both_ways and isinstance(op, (keras.layers.Dense, Transposed)):
        bare = op.bias is None and op.activation is keras.activations.linear
        return None if bare else product_then_bias
    if bits == 16:
        function = written_in_16_bits(op, args)
        if function is not None:
            return function
    elif isinstance(op, keras.layers.Rescaling):
        return lambda use, x: x * use.op.scale + use.op.offset
    if operation_name(op) == "add" and len(args) == 2 and args[0] is args[1]:
        return lambda use, x, y: x * 2.0  # as a sum the converter can fail on it
    rule = find_rule(op)
    if rule is not None:
        if rule.refuse(op):
            return None
        if rule.write is not None:
            return rule.write
        return linear_then_activation if split_activation(op) else None
    if isinstance(op, Written):
        return OWN_CALL
    if not isinstance(op, keras.Layer) or isinstance(op, IDENTITY_LAYERS):
        return None
    of_keras = type(op).__module__.split(".")[0] in ("keras", "keras_share")
    if op.variables and of_keras:
        return None
    if accepts_training(op) and not isinstance(op, keras.layers.Lambda):
        return None
    return OWN_CALL if len(list(sublayers(op))) == 1 else None
