"""The model as it is exported: flat, with nothing left that would undo sharing."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_share.graph import FlatGraph, Rebuilder, Step, flatten
from keras_share.graph.folding import IDENTITY_LAYERS, folds
from keras_share.quantize.layers import FakeQuantize, QuantizeWeights
from keras_share.sublayers import sublayers


def inference_model(model: keras.Model, batch_size: int = 1) -> keras.Model:
    """Rebuilds a model for conversion, with the same outputs.

    The batch size is fixed, because with a free one the converter leaves some layers
    in floating point. A BatchNormalization beside a kernel that several sites use is
    written as a depthwise convolution of size 1: the converter folds products into
    kernels, which would store the kernel once per site again, but not convolutions.
    A quantization-aware model gets the quantized values as its weights.

    Args:
        model: A built Sequential or Functional model, quantization-aware or not.
        batch_size: Batch size of the exported model.

    Raises:
        ValueError: If the model can't be walked, or a quantization range was never
            set.
    """
    graph = flatten(model, batch_size, leaves=(QuantizeWeights,))
    builder = Rebuilder(graph)
    affine: list[tuple[Step, keras.layers.DepthwiseConv2D]] = []
    for step in graph:
        if isinstance(step.op, IDENTITY_LAYERS):
            outputs = builder.resolve(step.args[0])
        elif _is_affine(graph, step):
            convolution = keras.layers.DepthwiseConv2D(1, name=step.name)
            outputs = _on_channels(convolution, builder.resolve(step.args[0]))
            affine.append((step, convolution))
        else:
            outputs = builder.call(step)
        builder.set(step.outputs, outputs)
    rebuilt = builder.finish()
    for step, convolution in affine:
        _set_affine(step, convolution)
    for layer in sublayers(rebuilt):
        if isinstance(layer, QuantizeWeights):
            layer.bake()
        elif isinstance(layer, FakeQuantize):
            layer.check_range()
    return rebuilt


def _is_affine(graph: FlatGraph, step: Step) -> bool:
    if not isinstance(step.op, keras.layers.BatchNormalization):
        return False
    rank = len(step.output.shape)
    last = step.op.axis in (-1, rank - 1)
    static = None not in step.output.shape[1:]
    return last and 2 <= rank <= 4 and static and not folds(graph, step)


def _on_channels(layer: keras.layers.DepthwiseConv2D, x: Any) -> Any:
    """Applies a 2-D layer to a tensor of rank 2 to 4, by its last axis."""
    shape = tuple(x.shape)
    if len(shape) == 4:
        return layer(x)
    image = (shape[0], *(1,) * (4 - len(shape)), *shape[1:])
    return ops.reshape(layer(ops.reshape(x, image)), shape)


def _set_affine(step: Step, convolution: keras.layers.DepthwiseConv2D) -> None:
    norm = step.op
    own = {id(v): stand_in for v, stand_in in step.stand_ins}

    def value(variable):
        return np.asarray(ops.convert_to_numpy(own.get(id(variable), variable)))

    scale = 1 / np.sqrt(value(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        scale = scale * value(norm.gamma)
    offset = -value(norm.moving_mean) * scale
    if norm.center:
        offset = offset + value(norm.beta)
    convolution.set_weights([scale.reshape(1, 1, -1, 1), offset])
