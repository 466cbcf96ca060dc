"""`keep_kernels`: kernels that were left out are in floating point again."""

import keras
import numpy as np

from keras_share.flat.folding import KERNEL_LAYERS
from keras_share.layers.sublayers import sublayers
from keras_share.quantize.quantize_weights import QuantizeWeights
from keras_share.quantize.weight_rules import TRANSPOSED_CONVOLUTIONS
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.kernel_places import KERNEL_OPERATORS, NO_KERNEL
from keras_share.tflite.inspect.provenance import Candidate, find_origins

_KERNEL_LAYERS = (*KERNEL_LAYERS, *TRANSPOSED_CONVOLUTIONS)


def keep_kernels(model: schema.ModelT, exported: keras.Model) -> None:
    """Stores kernels as the floats that they are.

    With dynamic range the converter rounds every large kernel to 8 bits, with no
    exception, and that of a transposed convolution between integers, too. Where the
    activations are floats the operator runs with a float kernel as well.

    Args:
        model: The parsed file.
        exported: The model that it was made of. A kernel that serves as something
            else, too, stays as it is.
    """
    parts = list(sublayers(exported))
    rounded = {p.quantized_layer for p in parts if isinstance(p, QuantizeWeights)}
    left = [p for p in parts if isinstance(p, _KERNEL_LAYERS) and p not in rounded]
    kernels = [keras.ops.convert_to_numpy(layer.kernel) for layer in left]
    candidates = [Candidate(i, values) for i, values in enumerate(kernels)]
    origins = find_origins(model, candidates)
    multiplied: set[int] = set()
    others: set[int] = set()
    for graph in model.subgraphs:
        for op in graph.operators:
            name = flatbuffer.operator_name(model, op)
            place = KERNEL_OPERATORS.get(name, NO_KERNEL).kernel
            for i, tensor in enumerate(op.inputs):
                if tensor >= 0:
                    kernel = i == place and _of_floats(graph, op)
                    found = multiplied if kernel else others
                    found.add(graph.tensors[tensor].buffer)
    for index, tensors in flatbuffer.weights(model).items():
        if index not in multiplied - others or index not in origins:
            continue
        values = origins[index][0].values
        if values is None or flatbuffer.dtype_name(tensors[0].type) != "int8":
            continue
        content = np.ascontiguousarray(values, "float32").tobytes()
        model.buffers[index] = schema.BufferT(np.frombuffer(content, np.uint8))
        for tensor in tensors:
            tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None


def _of_floats(graph: schema.SubGraphT, op: schema.OperatorT) -> bool:
    return flatbuffer.dtype_name(graph.tensors[op.outputs[0]].type) == "float32"
