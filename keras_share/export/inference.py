"""The model as it is exported: flat, with nothing left that would undo sharing."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_share.export.around import with_edges
from keras_share.export.file_loop import FileLoop
from keras_share.export.merged import call_unmerged
from keras_share.export.products import (
    Place,
    ReversedTable,
    RoundedTable,
    Rounding,
    StackProduct,
    Sum,
)
from keras_share.export.rounded import Rounded
from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.flatten import flatten
from keras_share.flat.folding import (
    KERNEL_LAYERS,
    activation_would_fold,
    base_layer,
    is_identity,
    is_own_code,
    product_would_fold,
    scale_would_fold,
)
from keras_share.flat.rebuild import Rebuilder
from keras_share.layers.relax.affine import Affine
from keras_share.layers.sublayers import sublayers
from keras_share.layers.transposed import Transposed
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.float_edge import BETWEEN, FloatEdge
from keras_share.quantize.look_up import LookUp
from keras_share.quantize.pooling_rules import pooling_of_volumes
from keras_share.quantize.quantize_weights import QuantizeWeights
from keras_share.quantize.quantized_transposed import QuantizedTransposed
from keras_share.quantize.rules import find_rule, operation_name

_NOT_IN_TFLITE = (keras.layers.CategoryEncoding, keras.layers.IntegerLookup)


def inference_model(
    model: keras.Model,
    batch_size: int | None = 1,
    shapes: Sequence[Sequence[int]] | None = None,
) -> keras.Model:
    """Rebuilds a model for conversion, with the same outputs.

    The batch size is fixed, because with a free one the converter leaves some layers
    in floating point. The private scale of a normalization beside a kernel that
    several sites use is written as a depthwise convolution of size 1: the converter
    folds products into kernels, which would store the kernel once per site again, but
    not convolutions. A matrix that is used in both directions is written in a form that
    keeps it one. A quantization-aware model gets the quantized values as its weights.

    Args:
        model: A built Sequential or Functional model, quantization-aware or not.
        batch_size: Batch size of the exported model; None keeps that of the model.
        shapes: As in `flatten`.

    Raises:
        ValueError: If the model can't be walked, or a quantization range was never
            set.
    """
    graph = flatten(
        model,
        batch_size,
        leaves=(QuantizeWeights, LookUp),
        inference=True,
        open_with=_written,
        shapes=shapes,
    )
    quantized = any(isinstance(step.op, FakeQuantize) for step in graph.all_steps)
    if quantized:
        graph = with_edges(graph)
    steps = list(graph.all_steps)
    kinds = (FakeQuantize, QuantizeWeights)
    rounders = {s.op.name: s.op for s in steps if isinstance(s.op, kinds)}
    # In 16 bits constants of sums and products can't be integers.
    wide = any(getattr(step.op, "num_bits", 8) == 16 for step in steps)
    roundings: dict[int, Rounding] = {}
    builder = Rebuilder(graph, wrap=_forms(graph, roundings), keeps=True)
    affine: list[tuple[Step, keras.layers.DepthwiseConv2D]] = []

    def run(builder: Rebuilder) -> None:
        for step in builder.graph:
            builder.set(step.outputs, call(builder, step))

    def call(builder: Rebuilder, step: Step) -> Any:
        if is_identity(step.op, step.args, step.kwargs):
            x = builder.resolve(step.args[0])
            return x if x.dtype == step.output.dtype else ops.cast(x, step.output.dtype)
        if step.body is not None:
            inner = builder.nested(step.body)
            run(inner)
            model = inner.model(inner.resolve(step.body.outputs))
            loop = FileLoop(model, rounders, **step.op.settings())
            return loop(*builder.resolve(step.args))
        if _is_sum(step):
            # Not the name of the step, which another operation may have.
            return Sum(name=f"{step.name}_sum")(builder.resolve(step.inputs))
        places = operation_name(step.op) in ("argmax", "argmin")
        if places and step.op.axis is not None:
            place = Place(step.op, name=f"{step.name}_place")
            return place(builder.resolve(step.args[0]))
        if _is_offset(step) and not quantized:
            # The converter adds it to the bias of the operator before, if there is
            # one; but of a sum it can't quantize a constant without a range.
            return builder.call(step)
        if scale_would_fold(builder.graph, step) or (wide and _is_constant(step)):
            convolution = keras.layers.DepthwiseConv2D(1, name=step.name)
            x = _normalized(step.op, builder.resolve(step.args[0]))
            affine.append((step, convolution))
            return _on_channels(convolution, x, getattr(step.op, "num_axes", 1))
        if (
            _is_product(builder.graph, step)
            and not quantized
            and product_would_fold(builder.graph, step)
        ):
            return _call_apart(builder, step)
        if isinstance(step.op, FakeQuantize):
            return Rounded(step.op, step.name)(builder.resolve(step.args[0]))
        outputs = call_unmerged(builder, step) if quantized else builder.call(step)
        folds = not quantized and activation_would_fold(builder.graph, step)
        if folds or _is_read_gelu(builder.graph, step):
            return FloatEdge(BETWEEN, name=f"{step.name}_after")(outputs)
        return outputs

    run(builder)
    rebuilt = builder.finish()
    for step, convolution in affine:
        convolution.set_weights(_scale_and_offset(step))
    for layer in sublayers(rebuilt):
        if isinstance(layer, QuantizeWeights):
            layer.bake()
        elif isinstance(layer, (FloatEdge, LookUp)):
            layer.mark()
    if quantized:  # of dynamic range the converter finds the ranges by itself
        for rounding in roundings.values():
            rounding.measure()
    return rebuilt


def _written(op: keras.Operation, args: tuple, kwargs: dict) -> Any:
    """What writes a layer that the converter has no operator for."""
    rule = find_rule(op) if isinstance(op, _NOT_IN_TFLITE) else None
    return pooling_of_volumes(op, args) if rule is None else rule.write


def _is_sum(step: Step) -> bool:
    """Whether a step adds tensors of which Keras takes one for a bias."""
    is_add = isinstance(step.op, keras.layers.Add) or operation_name(step.op) == "add"
    ranks = {len(x.shape) for x in step.inputs}
    return (
        is_add
        and len(ranks) == 1
        and min(ranks) > 1
        and any(sum(n not in (1, None) for n in x.shape) < 2 for x in step.inputs[1:])
    )


def _is_product(graph: FlatGraph, step: Step) -> bool:
    """Whether a step multiplies a tensor by a constant or a weight, or may do so."""
    if isinstance(step.op, keras.Layer):
        may = is_own_code(step.op) and step.op.variables and len(step.inputs) == 1
        return _is_constant(step) or bool(may)
    names = ("divide", "multiply", "true_divide")
    return operation_name(step.op) in names and len(graph.changing_inputs(step)) == 1


def _is_read_gelu(graph: FlatGraph, step: Step) -> bool:
    """Whether a GELU is read by more than rounding and kernels.

    If that is a ReLU, the converter makes it part of the last product of the GELU, of
    which TFLite lacks operators for the rest.
    """
    function = getattr(base_layer(step), "activation", None)
    if function is not keras.activations.gelu and operation_name(step.op) != "gelu":
        return False
    kinds = (FakeQuantize, QuantizeWeights, *KERNEL_LAYERS)
    readers = graph.consumers(step.output)
    return not all(isinstance(base_layer(reader), kinds) for reader in readers)


def _call_apart(builder: Rebuilder, step: Step) -> Any:
    """Calls a step between edges that the converter can't fold it across."""
    [tensor] = builder.graph.changing_inputs(step)
    x = builder.resolve(tensor)
    builder.set(tensor, FloatEdge(BETWEEN, name=f"{step.name}_before")(x))
    outputs = FloatEdge(BETWEEN, name=f"{step.name}_after")(builder.call(step))
    builder.set(tensor, x)
    return outputs


def _is_constant(step: Step) -> bool:
    return isinstance(step.op, keras.layers.Rescaling)


def _is_offset(step: Step) -> bool:
    return isinstance(step.op, Affine) and not step.op.has_scale


def _forms(
    graph: FlatGraph, roundings: dict[int, Rounding]
) -> Callable[[keras.Layer, keras.Layer], keras.Layer]:
    """What stands for copied layers whose matrix has uses of several kinds."""
    steps = graph.all_steps
    sources = {id(s.op.source) for s in steps if isinstance(s.op, Transposed)}

    def rounding(matrix: keras.Variable) -> Rounding:
        # One for all uses of a matrix, which marks them differently.
        return roundings.setdefault(id(matrix), Rounding(matrix))

    def wrap(copy: keras.Layer, original: keras.Layer) -> keras.Layer:
        name = f"{copy.name}_form"
        if isinstance(original, keras.layers.Embedding):
            form = ReversedTable.fits(original)
            return ReversedTable(copy, name=name) if form else copy
        if isinstance(original, QuantizeWeights):
            layer = original.quantized_layer
            if isinstance(layer, keras.layers.Embedding):
                return RoundedTable(copy, rounding(layer.embeddings), name=name)
            if id(layer) in sources:
                return StackProduct(copy, rounding(layer.kernel), name=name)
        elif isinstance(original, QuantizedTransposed):
            return StackProduct(copy, rounding(original.matrix), name=name)
        elif isinstance(original, Transposed) or id(original) in sources:
            return StackProduct(copy, name=name)
        return copy

    return wrap


def _normalized(norm: keras.Layer, x: Any) -> Any:
    """What a normalization computes of its input before scale and offset."""
    plain = (Affine, keras.layers.BatchNormalization, keras.layers.Rescaling)
    if isinstance(norm, plain):
        return x  # of its statistics only, which are constants
    if isinstance(norm, keras.layers.LayerNormalization):
        x = x - ops.mean(x, axis=-1, keepdims=True)
    square = ops.mean(ops.square(x), axis=-1, keepdims=True)
    return x * ops.rsqrt(square + norm.epsilon)


def _on_channels(layer: keras.layers.DepthwiseConv2D, x: Any, num_axes: int) -> Any:
    """Applies a 2-D layer to a tensor of rank 2 to 5, by its last axes as channels."""
    shape = tuple(-1 if size is None else size for size in x.shape)
    lead, channels = shape[1:-num_axes], math.prod(shape[-num_axes:])
    if len(shape) == 4 and num_axes == 1:
        return layer(x)
    image = (shape[0], *(1,) * (2 - len(lead)), *lead, channels)
    return ops.reshape(layer(ops.reshape(x, image)), shape)


def _scale_and_offset(step: Step) -> list[np.ndarray]:
    """The kernel and bias of the convolution that stands for a normalization."""

    def value(variable):
        return np.asarray(ops.convert_to_numpy(step.stand_ins.of(variable)))

    norm = step.op
    if isinstance(norm, keras.layers.Rescaling):
        channels = np.ones(step.output.shape[-1], "float32")
        return [(channels * norm.scale).reshape(1, 1, -1, 1), channels * norm.offset]
    if isinstance(norm, Affine):
        [shape] = {tuple(v.shape) for v in norm.weights}
        scale = value(norm.scale) if norm.has_scale else np.ones(shape, "float32")
        offset = value(norm.offset) if norm.has_offset else np.zeros(shape, "float32")
        return [scale.reshape(1, 1, -1, 1), offset.reshape(-1)]
    if isinstance(norm, keras.layers.BatchNormalization):
        scale = 1 / np.sqrt(value(norm.moving_variance) + norm.epsilon)
        if norm.scale:
            scale = scale * value(norm.gamma)
        offset = -value(norm.moving_mean) * scale
        if norm.center:
            offset = offset + value(norm.beta)
    else:
        # LayerNormalization calls it gamma, RMSNormalization scale.
        scale = value(norm.gamma if hasattr(norm, "gamma") else norm.scale)
        offset = np.zeros_like(scale)
    return [scale.reshape(1, 1, -1, 1), offset]
