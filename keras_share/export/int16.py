"""`fit_int16`: what LiteRT's kernels ask of a file with int16 activations."""

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.kernel_places import KERNEL_OPERATORS, NO_KERNEL
from keras_share.tflite.file.unused import drop_buffers


def fit_int16(model: schema.ModelT) -> None:
    """Corrects what TensorFlow's converter gets wrong of int16 activations.

    It stores biases as int32, where LiteRT and TFLite Micro read int64 beside int16
    (convolutions return wrong numbers, depthwise ones refuse the file), and gives
    the logistic function an output from 0 to 1 in 65,536 steps, where the kernels
    compute it in steps of 1 / 32,768.
    """
    wide: dict[int, int] = {}  # int32 buffer -> int64 buffer
    for graph in model.subgraphs:
        for op in graph.operators:
            name = flatbuffer.operator_name(model, op)
            if name == "LOGISTIC":
                output = graph.tensors[op.outputs[0]]
                if output.type == schema.TensorType.INT16:
                    output.quantization.scale = np.array([2**-15], np.float32)
                    output.quantization.zeroPoint = np.array([0], np.int64)
            x, _, place = KERNEL_OPERATORS.get(name, NO_KERNEL)
            if place is None or place >= len(op.inputs) or op.inputs[place] < 0:
                continue
            bias = graph.tensors[op.inputs[place]]
            if (
                graph.tensors[op.inputs[x]].type == schema.TensorType.INT16
                and bias.type == schema.TensorType.INT32
            ):
                if bias.buffer not in wide:
                    stored = flatbuffer.buffer_bytes(model, bias.buffer)
                    values = np.frombuffer(stored, np.int32).astype(np.int64)
                    wide[bias.buffer] = len(model.buffers)
                    content = np.frombuffer(values.tobytes(), np.uint8)
                    model.buffers.append(schema.BufferT(content))
                bias.buffer = wide[bias.buffer]
                bias.type = schema.TensorType.INT64
    drop_buffers(model)
