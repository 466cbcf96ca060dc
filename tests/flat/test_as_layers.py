"""Layers whose operations read weights of their own are opened."""

from functools import partial
from typing import NamedTuple

import keras
import numpy as np
import pytest
from file_against_model import check_steps, compare
from keras import layers, ops
from older_keras import newer_only
from random_data import randomize, values
from unrounded import unrounded

from keras_share import SharedStack, export_tflite, quantize_model
from keras_share.quantize import quantization_report

SHAPE = (4, 8)


class Gain(layers.Layer):
    """A scale, and a matrix between tables."""

    def build(self, shape):
        self.gain = self.add_weight(shape=shape[-1:], name="gain")
        self.matrix = self.add_weight(shape=(shape[-1],) * 2, name="matrix")

    def call(self, x):
        return ops.softplus(ops.matmul(x * self.gain, self.matrix))


class Outer(layers.Layer):
    """Has a layer, and a weight of its own beside it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(8)

    def build(self, shape):
        self.inner.build(shape)
        self.offset = self.add_weight(shape=shape[-1:], name="offset")

    def call(self, x):
        return ops.tanh(self.inner(x) + self.offset)


class Batched(Gain):
    """Asks for the size of the batch."""

    def call(self, x):
        return x + ops.broadcast_to(self.gain, ops.shape(x))


class Counting(Gain):
    """Assigns to its weight."""

    def call(self, x):
        self.gain.assign(self.gain + 1.0)
        return x * self.gain


class Asserting(Gain):
    """Takes the tensors of one backend alone."""

    def call(self, x):
        assert not isinstance(x, keras.KerasTensor), "a tensor of numbers is needed"
        return x * self.gain

    def compute_output_shape(self, shape):
        return shape


class Picking(layers.Layer):
    """Reads from places that are weights, and scales by a single number and a list."""

    def build(self, shape):
        self.places = self.add_weight(
            name="places", shape=(3,), dtype="int32", initializer="ones"
        )
        self.scale = self.add_weight(name="scale", shape=())
        self.gains = [self.add_weight(name=f"gain_{i}", shape=(3,)) for i in range(2)]
        self.named = {"offset": self.add_weight(name="offset", shape=(3,))}

    def call(self, x):
        x = ops.take(x, self.places, axis=-1) * self.scale
        for gain in self.gains:
            x = ops.tanh(x * gain)
        return x + self.named["offset"]


class Pair(NamedTuple):
    first: list
    second: keras.Variable


class Nested(layers.Layer):
    """Keeps its weights in containers of containers."""

    def build(self, shape):
        weights = [self.add_weight(name=f"gain_{i}", shape=(8,)) for i in range(4)]
        self.pair = Pair([{"a": weights[0]}], weights[1])
        self.named = {"gains": tuple(weights[2:]), "rate": 0.5}

    def call(self, x):
        x = ops.tanh(x * self.pair.first[0]["a"]) * self.pair.second
        for gain in self.named["gains"]:
            x = ops.tanh(x + gain) * self.named["rate"]
        return x


class Product(layers.Layer):
    """Computes an operation with a kernel of its own."""

    def __init__(self, function, shapes, bias=None, **kwargs):
        super().__init__(**kwargs)
        self.function, self.shapes, self.size = function, shapes, bias

    def build(self, shape):
        self.kernels = [
            self.add_weight(name=f"kernel_{i}", shape=x)
            for i, x in enumerate(self.shapes)
        ]
        if self.size:
            self.bias = self.add_weight(name="bias", shape=(self.size,))

    def call(self, x):
        x = self.function(x, *self.kernels)
        return ops.relu(self.bias + x if self.size else x)


def model_of(*parts):
    return randomize(keras.Sequential([keras.Input(SHAPE), *parts]))


@pytest.mark.parametrize(
    "make",
    [
        *(Gain, Outer, Batched, Picking, Nested),
        lambda: SharedStack(Gain(), "AAB", private=["gain"]),
    ],
)
def test_computes_what_the_layer_does(make):
    model, x = model_of(make()), values(4, *SHAPE)
    opened, _ = unrounded(model)
    np.testing.assert_allclose(opened(x), model(x), atol=1e-5)
    assert not quantization_report(model).float_layers


def test_file_has_the_numbers_of_the_model(tmp_path):
    x, path = values(32, *SHAPE), tmp_path / "m.tflite"
    quantized = quantize_model(model_of(Gain(), Outer(), layers.Dense(3)), x)
    trained = [v.path for v in quantized.trainable_weights]
    assert len(trained) == 2 + 3 + 2
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators
    check_steps(compare(quantized, path.read_bytes(), [x]))


# Operation, shapes of input and kernels, outputs, and the layers that do the same.
PRODUCTS = [
    (ops.matmul, (5, 8), [(8, 3)], 3, ["Dense"]),
    (ops.dot, (5, 8), [(8, 3)], 3, ["Dense"]),
    (partial(ops.tensordot, axes=1), (5, 8), [(8, 3)], 3, ["Dense"]),
    (partial(ops.conv, strides=2), (5, 4), [(3, 4, 6)], 6, ["Conv1D"]),
    (
        partial(ops.conv, padding="same", dilation_rate=2),
        *((5, 6, 4), [(3, 2, 4, 6)], 6, ["Conv2D"]),
    ),
    (ops.depthwise_conv, (5, 4), [(3, 4, 2)], 8, ["DepthwiseConv1D"]),
    (ops.depthwise_conv, (5, 6, 4), [(3, 2, 4, 2)], 8, ["DepthwiseConv2D"]),
    (
        partial(ops.conv_transpose, strides=2, padding="same"),
        *((5, 6, 4), [(3, 2, 6, 4)], 6, ["Conv2DTranspose"]),
    ),
    (
        partial(ops.separable_conv, strides=2),
        *((5, 6, 4), [(3, 3, 4, 2), (1, 1, 8, 6)], 6, ["DepthwiseConv2D", "Conv2D"]),
    ),
]


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("function, shape, kernels, size, kinds", PRODUCTS)
def test_kernels_of_layers_are_those_of_keras(
    function, shape, kernels, size, kinds, has_bias
):
    layer = Product(function, kernels, size if has_bias else None)
    model = randomize(keras.Sequential([keras.Input(shape), layer]))
    x = values(2, *shape)
    opened, steps = unrounded(model)
    np.testing.assert_allclose(opened(x), model(x), atol=1e-5)
    found = [type(step.op).__name__ for step in steps]
    assert [name for name in found if name in kinds] == kinds
    assert "Affine" not in found  # the bias is in the same operator


class Twice(Gain):
    """Reads a product before and after its bias."""

    def call(self, x):
        y = ops.matmul(x, self.matrix)
        return y * (y + self.gain) + ops.convert_to_tensor(values(SHAPE[-1]))


def test_a_product_that_is_read_has_no_bias():
    model, x = model_of(Twice()), values(4, *SHAPE)
    opened, _ = unrounded(model)
    np.testing.assert_allclose(opened(x), model(x), atol=1e-5)
    assert not quantization_report(model).float_layers


@pytest.mark.parametrize(
    "kind, reason",
    [
        (Counting, "it can't be opened"),
        (Asserting, "a tensor of numbers is needed"),
    ],
)
def test_what_stays_closed(kind, reason):
    [row] = quantization_report(model_of(kind())).float_layers
    assert reason in row.reason


def test_a_layer_keeps_its_weights():
    model = model_of(Gain(name="own"))
    quantization_report(model)
    layer = model.get_layer("own")
    assert isinstance(layer.gain, keras.Variable)
    assert [v.name for v in layer.weights] == ["gain", "matrix"]


class Computing(layers.Layer):
    """Computes a function of weights of its own."""

    def __init__(self, function, **shapes):
        super().__init__()
        self.function, self.shapes = function, shapes

    def build(self, shape):
        for name, size in self.shapes.items():
            setattr(self, name, self.add_weight(name=name, shape=size))

    def call(self, x):
        return self.function(x, self)


def mixed(x, own):
    weights = ops.softmax(ops.stack([1.0 * own.a, 1.0 * own.b]))
    return weights[0] * x + weights[1] * ops.tanh(x)


W, B = (8, 3), (3,)
# What people do with weights: each must be one weight, and computed as it stands.
FUNCTIONS = {
    "two biases": (
        lambda x, o: ops.matmul(x, o.w) + o.b + o.c,
        {"w": W, "b": B, "c": B},
    ),
    "of weights": (
        lambda x, o: ops.matmul(x, ops.transpose(ops.matmul(o.q, o.w) + o.b)),
        {"q": (2, 8), "w": (8, 8), "b": (8,)},
    ),
    "a number as bias": (lambda x, o: ops.matmul(x, o.w) + o.b, {"w": (8, 1), "b": ()}),
    "numbers in a stack": (mixed, {"a": (), "b": ()}),
    "along another axis": (lambda x, o: ops.tanh(x + o.b), {"b": (4, 1)}),
    "along an axis as long": (lambda x, o: x[..., :4] + o.b, {"b": (4, 1)}),
    "forth and back": (
        lambda x, o: ops.matmul(ops.tanh(ops.matmul(x, o.w) + o.b), ops.transpose(o.w)),
        {"w": W, "b": B},
    ),
    "with a bias and without": (
        lambda x, o: ops.matmul(x, o.w) + o.b + ops.matmul(ops.sin(x), o.w),
        {"w": W, "b": B},
    ),
    "the bias again": (
        lambda x, o: ops.tanh(ops.matmul(x, o.w) + o.b) * o.b,
        {"w": W, "b": B},
    ),
    "in a function": (lambda x, o: ops.matmul(x, ops.sign(o.w)), {"w": W}),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_weight_stays_one(name, tmp_path):
    function, shapes = FUNCTIONS[name]
    model, x = model_of(Computing(function, **shapes)), values(32, *SHAPE)
    opened, _ = unrounded(model)
    np.testing.assert_allclose(opened(x), model(x), atol=1e-5)
    quantized = quantize_model(model, x)
    assert len(quantized.trainable_weights) == len(shapes)
    path = tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    assert report.agreement[0].ratio > 35


@newer_only
def test_the_size_of_an_output_is_kept():
    layer = Computing(
        lambda x, own: ops.conv_transpose(x, own.w, strides=2, output_padding=1),
        w=(3, 3, 5, 4),
    )
    model = randomize(keras.Sequential([keras.Input((6, 6, 4)), layer]))
    x = values(2, 6, 6, 4)
    opened, _ = unrounded(model)
    np.testing.assert_allclose(opened(x), model(x), atol=1e-5)


def test_weights_keep_what_they_are_to_training():
    class Settled(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(
                shape=(8, 3), regularizer="l2", constraint="non_neg"
            )
            self.b = self.add_weight(shape=(3,), trainable=False)

        def call(self, x):
            return ops.matmul(x, self.w) + self.b

    model = model_of(Settled())
    quantized = quantize_model(model, values(8, *SHAPE))
    [weight] = quantized.trainable_weights
    assert isinstance(weight.constraint, keras.constraints.NonNeg)
    np.testing.assert_allclose(sum(quantized.losses), sum(model.losses), rtol=1e-5)


def test_weights_of_several_layers_that_part_are_told():
    class Head(layers.Layer):
        def __init__(self, table):
            super().__init__()
            self.table = table

        def call(self, x):
            return ops.matmul(x, ops.transpose(self.table.embeddings))

    x = keras.Input((4,), dtype="int32")
    table = layers.Embedding(12, 6, name="table")
    model = keras.Model(x, Head(table)(layers.Dense(6)(table(x))))
    with pytest.warns(UserWarning, match="'table/embeddings' is one for each of"):
        quantize_model(model)
