"""`widen_scales`: scales so small that kernels end the process."""

import math

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.kernel_places import KERNEL_OPERATORS
from keras_share.tflite.file.parts import new_operator, new_tensor

_SOFTMAX = 2.0**-26  # the scale of its input, times beta, must be above it
_SUM = 2.0**-19  # the scale of a sum, in the largest one of its inputs
_PRODUCT = 2.0**-8  # that of a product with a kernel, in the product of their scales


def widen_scales(model: schema.ModelT) -> None:
    """Puts a QUANTIZE beside operators whose kernels can't have so small a scale.

    Numbers that are zero in all samples, such as the scores of an untrained network,
    get a range that is next to nothing. LiteRT's reference kernels and TFLite Micro's
    abort on it, in a softmax that reads them, or a sum that makes them; XNNPACK's run,
    but not where a product with a kernel makes them, as the mean of a normalization
    right behind another one.

    Args:
        model: The parsed file.
    """
    for graph in model.subgraphs:
        graph.operators = [
            part for op in graph.operators for part in _widened(model, graph, op)
        ]


def _widened(
    model: schema.ModelT, graph: schema.SubGraphT, op: schema.OperatorT
) -> list[schema.OperatorT]:
    name = flatbuffer.operator_name(model, op)
    x, y = (graph.tensors[int(ends[0])] for ends in (op.inputs, op.outputs))
    if flatbuffer.dtype_name(y.type) != "int8":
        return [op]
    if name in ("LOG_SOFTMAX", "SOFTMAX"):
        least = _SOFTMAX / getattr(op.builtinOptions, "beta", 1.0)
        if x.quantization.scale[0] > least:
            return [op]
        source, wide = int(op.inputs[0]), new_tensor(graph, x, scale=2 * least)
        op.inputs = np.array([wide], np.int32)
        return [new_operator(model, "QUANTIZE", [source], wide, version=2), op]
    if name in ("ADD", "SUB"):
        scales = [graph.tensors[i].quantization.scale[0] for i in op.inputs]
        least = max(scales) * _SUM
    elif name in KERNEL_OPERATORS:
        places = (KERNEL_OPERATORS[name].activations, KERNEL_OPERATORS[name].kernel)
        scales = [max(graph.tensors[op.inputs[i]].quantization.scale) for i in places]
        least = math.prod(scales) * _PRODUCT
    else:
        return [op]
    if y.quantization.scale[0] > least:
        return [op]
    result, wide = int(op.outputs[0]), new_tensor(graph, y, scale=2 * least)
    op.outputs = np.array([wide], np.int32)
    return [op, new_operator(model, "QUANTIZE", [wide], result, version=2)]
