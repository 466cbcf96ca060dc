"""A file against the model that simulates it, on real data, for each scheme."""

from functools import cache

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

import keras_share as ks
from keras_share.quantize import QuantizeWeights
from keras_share.tflite.file import flatbuffer


@cache
def digits():
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype("float32"), y


def convolutional():
    block = ks.blocks.SeparableConvBlock(3, momentum=0.8)
    return [
        layers.Reshape((8, 8, 1)),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        ks.SharedStack(block, "AABA"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(64, "relu"),
        layers.Dense(10),
    ]


def attending():
    block = ks.blocks.TransformerBlock(2, 64)
    return [
        layers.Reshape((8, 8)),
        layers.Dense(32),
        ks.SharedStack(block, "AA"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(10),
    ]


NETWORKS = {"convolutional": convolutional, "attending": attending}


@cache
def trained(network):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), *NETWORKS[network]()])
    assert _fit(model, 5e-3, epochs=6).history["accuracy"][-1] > 0.7
    return model


def _fit(model, learning_rate, epochs):
    x, y = digits()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(model.trainable_variables)  # else Keras traces twice
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    return model.fit(x, y, batch_size=128, epochs=epochs, verbose=0)


@cache
def quantized(network, scheme):
    x, _ = digits()
    model = ks.quantize_model(
        trained(network), x[:200], quantization=scheme, strict=True
    )
    if network == "convolutional" and scheme in ("int8", "int4"):
        _fit(model, 1e-4, epochs=1)
    else:  # what a training does to a file: its weights are others
        rng = np.random.default_rng(0)
        for variable in model.trainable_variables:
            variable.assign(variable * (1 + 0.02 * rng.normal(size=variable.shape)))
    return model


CASES = [
    ("convolutional", "int8"),
    ("convolutional", "int16"),
    ("convolutional", "int4"),
    ("convolutional", "dynamic"),
    ("convolutional", "dynamic_int4"),
    ("attending", "int8"),
]


@pytest.mark.parametrize("network, scheme", CASES)
def test_file_is_the_model_that_was_trained(network, scheme, tmp_path):
    x, _ = digits()
    model = quantized(network, scheme)
    path = tmp_path / "model.tflite"
    report = ks.export_tflite(model, path, representative_dataset=x[:200])
    assert report.duplicate_bytes == 0
    _check_integers(model, scheme, path)

    simulated = np.asarray(model(x[:300]))
    difference = np.abs(ks.predict_tflite(path, x[:300]) - simulated)
    if scheme.startswith("dynamic"):  # the runtime rounds activations to 8 bits
        assert difference.max() <= 0.03 * np.abs(simulated).max()
        return
    assert not report.float_operators
    # Kernels round to the nearest step but for ties, and not all break them alike. The
    # more roundings in a row (attention and normalization are some thirty), and the
    # larger the steps of the weights, the more a difference of one step grows.
    # In 16 bits, steps of 8 bits are counted: functions are looked up in tables.
    step = float(model.layers[-1].max - model.layers[-1].min) / 255
    within_two = ("convolutional", "int8"), ("convolutional", "int16")
    most = 2 if (network, scheme) in within_two else 5
    assert difference.max() <= (most + 0.01) * step
    assert np.quantile(difference, 0.99) <= 2.01 * step


def _check_integers(model, scheme, path):
    stored = _kernels(path)
    for part in model.layers:
        for name in part.kernels() if isinstance(part, QuantizeWeights) else ():
            values = np.asarray(part.quantized(name))
            if scheme.startswith("dynamic") and values.size < 1024:
                continue  # which the converter leaves in floating point
            assert _multiset(values, 4 if "int4" in scheme else 8) in stored


def _multiset(values, bits):
    """The integers of a kernel, in an order that doesn't depend on its layout."""
    limit = 2 ** (bits - 1) - 1
    depthwise = values.ndim == 4 and values.shape[-1] == 1
    channels = values.reshape(-1, values.shape[-2] if depthwise else values.shape[-1])
    if values.ndim == 3 and values.shape[-1] * values.shape[-2] == values.shape[0]:
        channels = values.reshape(values.shape[0], -1)
    scales = np.abs(channels).max(axis=0) / limit
    integers = np.round(channels / np.maximum(scales, 1e-12)).astype(int)
    return _sorted(integers.T)


def _sorted(rows):
    return tuple(sorted(tuple(sorted(row)) for row in rows.tolist()))


def _kernels(path):
    model = flatbuffer.read(path)
    found = set()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = flatbuffer.buffer_bytes(model, tensor.buffer)
            axis = tensor.quantization.quantizedDimension if tensor.quantization else 0
            if data is None or not len(data) or len(tensor.shape) < 2:
                continue
            values = _integers(tensor, data)
            if values is not None:
                rows = np.moveaxis(values.reshape(tensor.shape), axis, 0)
                found.add(_sorted(rows.reshape(len(rows), -1)))
    return found


def _integers(tensor, data):
    types = flatbuffer.schema.TensorType
    data = np.frombuffer(data, "int8")
    if tensor.type == types.INT8:
        return data
    if tensor.type == types.INT4:
        halves = np.stack([data << 4 >> 4, data >> 4], axis=-1).reshape(-1)
        return halves[: np.prod(tensor.shape)]
    return None
