"""Layers with kernels: what they compute, and the integers in the file."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values
from unrounded import kinds, unrounded

from keras_share import export_tflite, quantize_model
from keras_share.layers.sublayers import sublayers
from keras_share.quantize import QuantizeWeights, quantization_report
from keras_share.tflite.file import flatbuffer

SEQUENCE, IMAGE = (6, 8), (6, 6, 8)


def sequential(shape, layer):
    return randomize(keras.Sequential([keras.Input(shape), layer]))


def agrees(model, x):
    """Asserts that the opened model returns what the model does; its steps."""
    opened, graph = unrounded(model)
    ours, theirs = (ops.convert_to_numpy(m(x)) for m in (opened, model))
    largest = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * largest)
    return kinds(graph)


SEPARABLE = {
    "plain": {},
    "same": {"padding": "same", "use_bias": False},
    "strides": {"strides": 2},
    "dilation": {"dilation_rate": 2},
    "multiplier": {"depth_multiplier": 3},
    "relu": {"activation": "relu"},
    "tanh": {"activation": "tanh"},
}


@pytest.mark.parametrize("name", SEPARABLE)
def test_separable_convolutions(name):
    for rank, kind in ((1, layers.SeparableConv1D), (2, layers.SeparableConv2D)):
        shape = (6,) * rank + (8,)
        model = sequential(shape, kind(5, 2, **SEPARABLE[name]))
        steps = agrees(model, values(4, *shape))
        assert steps[:2] == [f"DepthwiseConv{rank}D", f"Conv{rank}D"]


TRANSPOSED = {
    "plain": {},
    "same": {"padding": "same", "strides": 2},
    "strides": {"strides": 2},
    "no bias": {"use_bias": False},
    "relu": {"activation": "relu"},
    "tanh": {"activation": "tanh"},
}


@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions(name):
    for rank, kind in ((1, layers.Conv1DTranspose), (2, layers.Conv2DTranspose)):
        shape = (6,) * rank + (8,)
        model = sequential(shape, kind(5, 3, **TRANSPOSED[name]))
        assert agrees(model, values(4, *shape))[0] == kind.__name__


KERNELS = {
    "dense": (SEQUENCE, lambda a: layers.Dense(5, activation=a)),
    "einsum": (
        SEQUENCE,
        lambda a: layers.EinsumDense(
            "abc,cde->abde", (None, 2, 3), activation=a, bias_axes="de"
        ),
    ),
    "conv1d": (SEQUENCE, lambda a: layers.Conv1D(5, 3, padding="causal", activation=a)),
    "conv2d": (IMAGE, lambda a: layers.Conv2D(4, 3, groups=2, activation=a)),
    "depthwise1d": (SEQUENCE, lambda a: layers.DepthwiseConv1D(3, activation=a)),
    "depthwise2d": (IMAGE, lambda a: layers.DepthwiseConv2D(3, activation=a)),
    "separable": (IMAGE, lambda a: layers.SeparableConv2D(4, 3, activation=a)),
    "transposed": (IMAGE, lambda a: layers.Conv2DTranspose(4, 3, activation=a)),
}
ACTIVATIONS = {
    "linear": None,
    "relu": None,
    "relu6": None,
    "gelu": "Gelu",
    "silu": "Silu",
    "hard_silu": "HardSilu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softmax": "Softmax",
    "leaky_relu": "LeakyRelu",
    "hard_sigmoid": "Multiply",
}


@pytest.mark.parametrize("name", KERNELS)
def test_activation_of_a_layer_is_an_operation_behind_it(name):
    shape, make = KERNELS[name]
    for activation in ("linear", "relu6", "gelu", "tanh", "leaky_relu"):
        operation = ACTIVATIONS[activation]
        steps = agrees(sequential(shape, make(activation)), values(4, *shape))
        if operation:
            assert steps[-1] == operation


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_layer(name):
    model = sequential(SEQUENCE, layers.Activation(name))
    agrees(model, values(4, *SEQUENCE) * 3)


def test_gelu_is_exact_or_approximate_as_the_model_has_it():
    for approximate in (True, False):
        x = keras.Input(SEQUENCE)
        y = keras.activations.gelu(x, approximate=approximate)
        agrees(keras.Model(x, y), values(4, *SEQUENCE) * 3)


def test_other_activations_stay_and_are_named():
    def odd(x):
        return ops.cumsum(x, axis=-1)

    model = sequential(SEQUENCE, layers.Dense(5, activation=odd, name="dense"))
    rows = quantization_report(model).rows
    assert [(row.kind, row.dtype) for row in rows] == [
        ("Dense", "int8"),
        ("Cumsum", "float32"),
    ]


def test_channels_first_stays():
    model = sequential(IMAGE, layers.Conv2D(4, 3, data_format="channels_first"))
    [row] = quantization_report(model).float_layers
    assert row.reason == "its channels are not the last axis"


# A layer, its input, and its kernel as the file has it, channels at `axis`.
STORED = {
    "dense": (lambda: layers.Dense(5), SEQUENCE, lambda k: k.T, 0),
    "conv1d": (
        lambda: layers.Conv1D(5, 3),
        SEQUENCE,
        lambda k: k.transpose(2, 0, 1),
        0,
    ),
    "conv2d": (
        lambda: layers.Conv2D(5, 3),
        IMAGE,
        lambda k: k.transpose(3, 0, 1, 2),
        0,
    ),
    "depthwise1d": (
        lambda: layers.DepthwiseConv1D(3),
        SEQUENCE,
        lambda k: k.reshape(3, -1),
        -1,
    ),
    "depthwise2d": (
        lambda: layers.DepthwiseConv2D((3, 2), depth_multiplier=2),
        IMAGE,
        lambda k: k.reshape(1, 3, 2, -1),
        -1,
    ),
    "conv1d transposed": (
        lambda: layers.Conv1DTranspose(5, 3),
        SEQUENCE,
        lambda k: k.transpose(1, 0, 2),
        0,
    ),
    "conv2d transposed": (
        lambda: layers.Conv2DTranspose(5, (3, 2)),
        IMAGE,
        lambda k: k.transpose(2, 0, 1, 3),
        0,
    ),
    "einsum": (
        lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3)),
        SEQUENCE,
        lambda k: k.reshape(8, 6).T,
        0,
    ),
    "einsum of several axes": (
        lambda: layers.EinsumDense("abcd,cde->abe", (None, 5)),
        (4, 2, 3),
        lambda k: k.reshape(6, 5).T,
        0,
    ),
}


@pytest.mark.parametrize("name", STORED)
def test_integers_in_the_file_are_those_simulated(name, tmp_path):
    make, shape, layout, axis = STORED[name]
    model = sequential(shape, make())
    quantized = quantize_model(model, representative_dataset=values(8, *shape))
    [layer] = [x for x in sublayers(quantized) if isinstance(x, QuantizeWeights)]
    [kernel] = layer.kernels()
    simulated = layout(ops.convert_to_numpy(layer.quantized(kernel)))
    report = export_tflite(quantized, tmp_path / "model.tflite")
    assert not report.float_operators

    integers, scales = stored(tmp_path / "model.tflite", simulated.size)
    assert len(scales) == simulated.shape[axis]
    others = tuple(i for i in range(simulated.ndim) if i != axis % simulated.ndim)
    largest = np.abs(simulated).max(axis=others)
    np.testing.assert_allclose(scales, largest / 127, rtol=1e-5)
    along = np.ones(simulated.ndim, int)
    along[axis] = -1
    expected = np.round(simulated / scales.reshape(along)).astype("int8")
    np.testing.assert_array_equal(integers, expected.flatten())
    assert len(np.unique(expected)) > 10


def stored(path, size):
    """The integers and the scales of the only weight of a size in a file."""
    model = flatbuffer.read(path)
    [tensor] = [
        tensor
        for tensor in model.subgraphs[0].tensors
        if np.prod(tensor.shape) == size
        and len(flatbuffer.buffer_bytes(model, tensor.buffer)) == size
    ]
    data = flatbuffer.buffer_bytes(model, tensor.buffer)
    return np.frombuffer(data, "int8"), np.array(tensor.quantization.scale)


def test_separable_convolution_stores_both_kernels(tmp_path):
    model = sequential(IMAGE, layers.SeparableConv2D(5, 3))
    quantized = quantize_model(model, representative_dataset=values(8, *IMAGE))
    report = export_tflite(quantized, tmp_path / "model.tflite")
    assert sorted(b.nbytes for b in report.buffers if b.dtype == "int8") == [40, 72]
    assert not report.float_operators
    for size, channels in ((40, 5), (72, 8)):
        assert len(stored(tmp_path / "model.tflite", size)[1]) == channels


def test_einsum_whose_output_axes_are_not_last_has_one_range():
    x = keras.Input((4, 8))
    model = keras.Model(x, layers.EinsumDense("abc,dc->abd", (None, 5))(x))
    quantized = quantize_model(randomize(model), values(8, 4, 8))
    [layer] = [x for x in sublayers(quantized) if isinstance(x, QuantizeWeights)]
    kernel = ops.convert_to_numpy(layer.layer.kernel)
    scale = np.abs(kernel).max() / 127
    np.testing.assert_allclose(
        layer.quantized("kernel"), np.round(kernel / scale) * scale, atol=1e-6
    )


def test_a_layer_without_a_rule_needs_the_names_of_its_weights():
    class Scaled(layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(input_shape[-1],), name="kernel")

        def call(self, x):
            return x * self.kernel

    message = r"`weights` must name .* no rule\. Received: weights=None for 'mine' of"
    with pytest.raises(ValueError, match=message):
        QuantizeWeights(Scaled(name="mine")).build((None, 4))
    layer = QuantizeWeights(Scaled(), weights={"kernel": (-1,)})
    layer.build((None, 4))
    assert list(layer.kernels()) == ["kernel"]


def test_slopes_are_floats_in_dynamic_range_as_in_the_file():
    slopes = layers.PReLU(keras.initializers.Constant(0.3))
    model = keras.Sequential([keras.Input((2048,)), slopes])
    [row] = quantization_report(model, quantization="dynamic").rows
    assert (row.dtype, row.reason) == ("float32", "")
    [row] = quantization_report(model).rows
    assert row.dtype == "int8"
