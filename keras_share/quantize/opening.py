"""The graph of a model as it is quantized: layers opened by their rules."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import keras
from keras import ops

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.flatten import OWN_CALL, flatten
from keras_share.flat.folding import is_identity
from keras_share.flat.written import LayerUse, Written
from keras_share.layers.recurrent import Recurrent
from keras_share.layers.relax.affine import Affine
from keras_share.layers.relax.relaxed import Relaxed
from keras_share.layers.shared_stack import SharedStack
from keras_share.layers.sublayers import sublayers
from keras_share.layers.tied import Tied
from keras_share.layers.transposed import Transposed
from keras_share.quantize.added_masks import with_added_masks
from keras_share.quantize.inverse_root import with_inverse_roots
from keras_share.quantize.look_up import LookUp
from keras_share.quantize.placement import Placement, place
from keras_share.quantize.pointwise import with_look_ups
from keras_share.quantize.pooling_rules import pooling_of_volumes
from keras_share.quantize.rules import QuantizeRule, find_rule, operation_name
from keras_share.quantize.selection import Selection, check_uses
from keras_share.quantize.sixteen_bits import written_in_16_bits
from keras_share.quantize.weight_rules import (
    linear_then_activation,
    product_then_bias,
    split_activation,
)
from keras_share.quantize.written_rules import products_of_two

_ARITHMETIC = ("add", "divide", "multiply", "subtract", "true_divide")
# Layers that are opened in ways of their own.
_CLOSED = (Affine, SharedStack, Tied, Relaxed, Recurrent, keras.layers.RNN, Transposed)


def open_model(
    model: keras.Model, bits: int | None = 8, shapes: Sequence | None = None
) -> FlatGraph:
    """Flattens a model to steps that TFLite has integer operators for.

    What has a rule that writes it is written so. A layer without weights and without a
    rule is opened to the operations it runs.

    Args:
        model: A built Sequential or Functional model.
        bits: Bits of the activations.
        shapes: As in `flatten`.
    """
    transposed = [x for x in sublayers(model) if isinstance(x, Transposed)]
    both_ways = {x for t in transposed for x in (t, t.source)}
    opened_by = partial(_function, both_ways, bits)
    graph = flatten(model, open_with=opened_by, shapes=shapes)
    return graph if bits is None else with_inverse_roots(with_added_masks(graph))


def open_and_place(
    model: keras.Model,
    bits: int | None,
    selection: Selection,
    shapes: Sequence | None = None,
) -> tuple[FlatGraph, dict[Step, Placement]]:
    """The graph of a model as it is quantized, and what is done with each step.

    Args:
        model: A built Sequential or Functional model.
        bits: Bits of the activations.
        selection: What is left in floating point by request.
        shapes: As in `flatten`.

    Raises:
        ValueError: If some uses of a kernel are left out and others are not, or what
            is chosen is not in the model.
    """
    graph = open_model(model, bits, shapes)
    placements = place(graph, selection)
    selection.check()
    check_uses(placements)
    if bits is None:  # the converter rounds kernels then, and no slopes
        placements |= {
            step: replace(placement, rule=QuantizeRule())
            for step, placement in placements.items()
            if isinstance(step.op, keras.layers.PReLU)
        }
    if bits != 8:  # a table of 16 bits is too large
        return graph, placements
    excluded: set[keras.KerasTensor] = set()
    while True:
        looked_up = with_look_ups(graph, placements, excluded)
        placed = place(looked_up, selection)
        # What reads them is in floating point, and wants them exact.
        exact = {step.output for step in looked_up.all_steps if _is_float(step, placed)}
        if not exact:
            return looked_up, placed
        excluded |= exact


def _is_integer(x: Any) -> bool:
    return isinstance(x, keras.KerasTensor) and "int" in x.dtype


def _of_floats(name: str, use: LayerUse, *args: Any) -> Any:
    """What an operation computes of integers, of the floats that it makes of them."""
    given = [ops.cast(x, "float32") if _is_integer(x) else x for x in args]
    return getattr(ops, name)(*given)


def _is_float(step: Step, placements: dict[Step, Placement]) -> bool:
    return isinstance(step.op, LookUp) and placements[step].is_float


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
    pooling = pooling_of_volumes(op, args)
    if pooling is not None:
        return pooling
    if operation_name(op) == "add" and len(args) == 2 and args[0] is args[1]:
        return lambda use, x, y: x * 2.0  # as a sum the converter can fail on it
    if operation_name(op) == "einsum" and len(args) > 2:
        return products_of_two
    if operation_name(op) == "cast" and args[0].dtype == "bool" and "float" in op.dtype:
        return lambda use, x: ops.where(x, 1.0, 0.0)
    if operation_name(op) in _ARITHMETIC and any(_is_integer(x) for x in args):
        floats = "float" in op.compute_output_spec(*args).dtype
        return partial(_of_floats, operation_name(op)) if floats else None
    rule = find_rule(op)
    if rule is not None:
        if rule.refuse(op):
            return None
        if rule.write is not None:
            return rule.write
        return linear_then_activation if split_activation(op) else None
    if isinstance(op, Written):
        return OWN_CALL
    if not isinstance(op, keras.Layer) or isinstance(op, _CLOSED):
        return None
    if is_identity(op, args, kwargs):
        return None
    if len(list(sublayers(op))) > 1:
        return None
    return OWN_CALL
