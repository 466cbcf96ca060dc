"""Files of every pattern, made from the one in which all sites share.

A conversion takes a second, and there are 203 partitions of six sites: here the kernels
of a converted file are given copies with other values, one for each group.
"""

import copy
import functools
import pickle
from collections import defaultdict

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.kernel_places import KERNEL_OPERATORS, NO_KERNEL


def repartitioned(data, pattern):
    """The file of another pattern: kernels and biases of each group have own values."""
    model = pickle.loads(_pickled(data))
    rng = np.random.default_rng(0)
    [graph] = model.subgraphs
    uses = defaultdict(list)
    for op in graph.operators:
        name = flatbuffer.operator_name(model, op)
        for place in KERNEL_OPERATORS.get(name, NO_KERNEL)[1:]:
            if place is not None:
                uses[int(op.inputs[place])].append((op, place))
    for index, sites in uses.items():
        buffer = graph.tensors[index].buffer
        if len(sites) != len(pattern) or not flatbuffer.buffer_bytes(model, buffer):
            continue  # private, or no constant
        own = {0: index}
        for (op, place), group in zip(sites, pattern, strict=True):
            if group not in own:
                own[group] = len(graph.tensors)
                tensor = copy.copy(graph.tensors[index])
                content = flatbuffer.buffer_bytes(model, tensor.buffer)
                dtype = flatbuffer.dtype_name(tensor.type)
                values = rng.permutation(np.frombuffer(content, dtype))
                tensor.buffer = len(model.buffers)
                data = np.frombuffer(values.tobytes(), np.uint8)
                model.buffers.append(schema.BufferT(data))
                graph.tensors.append(tensor)
            op.inputs = [*op.inputs]
            op.inputs[place] = own[group]
    return flatbuffer.pack(model)


@functools.cache
def _pickled(data):
    """The model of a file; to unpickle it is quicker than to read it again."""
    return pickle.dumps(flatbuffer.read(data))
