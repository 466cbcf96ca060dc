"""Files of a Dense layer that is used three times."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_share.tflite.file import flatbuffer

UNITS = 32
KERNEL = 4 * UNITS * UNITS


def converter(**kwargs):
    x = keras.Input((UNITS,), batch_size=1)
    dense = keras.layers.Dense(UNITS, **kwargs)
    model = keras.Model(x, dense(dense(dense(x))))
    return tf.lite.TFLiteConverter.from_keras_model(model)


@pytest.fixture(scope="module")
def tied():
    return converter(use_bias=False).convert()


@pytest.fixture(scope="module")
def int8():
    # Without the activation the converter would merge the biases of two sites.
    quantized = converter(activation="tanh", bias_initializer="random_normal")
    quantized.optimizations = [tf.lite.Optimize.DEFAULT]
    quantized.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(8, 1, UNITS)).astype("float32")
    quantized.representative_dataset = lambda: ([x] for x in samples)
    return quantized.convert()


@pytest.fixture
def duplicated(tied):
    """The kernel stored three times, in one subgraph and in its copy."""
    model = flatbuffer.read(tied)
    graph = model.subgraphs[0]
    ((index, (kernel,)),) = flatbuffer.weights(model).items()
    for op in graph.operators[1:]:
        tensor = copy.copy(kernel)
        tensor.buffer = len(model.buffers)
        model.buffers.append(model.buffers[index])
        op.inputs = [op.inputs[0], len(graph.tensors), *op.inputs[2:]]
        graph.tensors.append(tensor)
    model.subgraphs.append(graph)
    return flatbuffer.pack(model)
