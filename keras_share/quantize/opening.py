"""The graph of a model as it is quantized: layers opened by their rules."""

from collections.abc import Callable
from typing import Any

import keras

from keras_share.graph import FlatGraph, flatten
from keras_share.graph.folding import IDENTITY_LAYERS
from keras_share.quantize.rules import find_rule
from keras_share.quantize.weight_rules import linear_then_activation, split_activation
from keras_share.sublayers import sublayers
from keras_share.substitute import accepts_training


def open_model(model: keras.Model) -> FlatGraph:
    """Flattens a model to steps that TFLite has integer operators for.

    What has a rule that writes it is written so. A layer without weights and without a
    rule is opened to the operations it runs.
    """
    return flatten(model, open_with=_function)


def _function(op: Any, args: tuple, kwargs: dict) -> Callable[..., Any] | None:
    rule = find_rule(op)
    if rule is not None:
        if rule.refuse(op):
            return None
        if rule.write is not None:
            return rule.write
        return linear_then_activation if split_activation(op) else None
    stateless = isinstance(op, keras.Layer) and not op.variables
    if not stateless or isinstance(op, IDENTITY_LAYERS) or accepts_training(op):
        return None
    if len(list(sublayers(op))) > 1 or isinstance(op, keras.layers.RNN):
        return None
    return lambda use, *a, **k: use.op.call(*a, **k)
