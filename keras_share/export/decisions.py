"""`check_decisions`: what was decided for each layer is so in the converted file."""

import re

import keras
import numpy as np

from keras_share.flat.built_model import input_structure
from keras_share.layers.sublayers import sublayers
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.float_edge import FloatEdge
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema

_SAME = 1e-4  # relative; quantizers move the ends so that zero is an integer
# Numbers so small are zeros to the converter, which gives them a range of its own.
_ZEROS = 1e-8


def check_decisions(file: schema.ModelT, model: keras.Model) -> None:
    """Checks that a file has each range of its model, and each edge to floats.

    What is computed in integers has a range, or is computed as part of what has one;
    what is left out lies between edges, which `keep_float` checks. So the report on the
    model is true of the file, layer for layer.

    Args:
        file: The parsed file, as it was converted.
        model: The model that was.

    Raises:
        ValueError: If the file lacks one of them.
    """
    tensors = [tensor for graph in file.subgraphs for tensor in graph.tensors]
    scales = [x.quantization.scale for x in tensors if x.quantization is not None]
    steps = np.array([x[0] for x in scales if x is not None and np.size(x) == 1])
    names = {
        flatbuffer.operator_name(file, op).removeprefix("CUSTOM:")
        for graph in file.subgraphs
        for op in graph.operators
    }
    for layer in sublayers(model):
        if isinstance(layer, FakeQuantize):
            same = np.abs(steps / layer.step - 1) < _SAME
            found = layer.step < _ZEROS or bool(np.any(same))
        elif isinstance(layer, FloatEdge):
            found = layer.operator in names
        else:
            continue
        if not found and _is_computed(layer, model):
            raise ValueError(
                "The file must round where the model does, and there only. Received: "
                f"none of its tensors is that of '{layer.name}'. Report this with the "
                "model, please."
            )


def _is_computed(layer: keras.Layer, model: keras.Model) -> bool:
    """Whether outputs depend on a layer: a layer behind it may ignore its input."""
    import tensorflow as tf

    specs = keras.tree.map_structure(
        lambda x: tf.TensorSpec(x.shape, x.dtype), input_structure(model)
    )
    graph = tf.function(model.call).get_concrete_function(specs).graph
    waiting, seen = [x.op for x in graph.outputs], set()
    while waiting:
        op = waiting.pop()
        if op not in seen:
            seen.add(op)
            waiting += [*(x.op for x in op.inputs), *op.control_inputs]
    called = re.compile(rf"(.*/)?{re.escape(layer.name)}(_\d+)?/").match
    own = [op for op in graph.get_operations() if called(op.name)]
    return not own or any(op in seen for op in own)  # not own: it is in a loop
