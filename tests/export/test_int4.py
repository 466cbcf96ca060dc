import copy
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers

from keras_share.export import int4
from keras_share.export.int4 import store_int4
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.dedupe import dedupe
from keras_share.tflite.inspect.audit import audit

pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
RUNTIMES = {
    "xnnpack": {},
    "builtin": {
        "experimental_op_resolver_type": (
            OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
    },
    "reference": {"experimental_op_resolver_type": OpResolverType.BUILTIN_REF},
}
# Input, layer, axes of a channel. The number of values is odd.
LAYERS = {
    "dense": ((63,), lambda: layers.Dense(17, "relu"), (0,)),
    "no bias": ((63,), lambda: layers.Dense(17, use_bias=False), (0,)),
    "conv": ((5, 5, 13), lambda: layers.Conv2D(9, 3), (0, 1, 2)),
    "depthwise": ((5, 5, 117), lambda: layers.DepthwiseConv2D(3), (0, 1)),
    "transposed": ((3, 3, 13), lambda: layers.Conv2DTranspose(9, 3), (0, 1, 3)),
}
OPERATORS = {
    "dense": "FULLY_CONNECTED",
    "no bias": "FULLY_CONNECTED",
    "conv": "CONV_2D",
    "depthwise": "DEPTHWISE_CONV_2D",
    "transposed": "TRANSPOSE_CONV",
}
NUM_BITS = {"float32": None, "int8": 8, "int16": 16}


class Range(layers.Layer):
    """Fake quantization of activations, as in training."""

    def __init__(self, num_bits, limit=4.0, **kwargs):
        super().__init__(**kwargs)
        self.num_bits, self.limit = num_bits, limit

    def call(self, x):
        if self.num_bits is None:
            return x
        return tf.quantization.fake_quant_with_min_max_vars(
            x, -self.limit, self.limit, self.num_bits, narrow_range=self.num_bits == 16
        )


def rounded(shape, axes, num_bits):
    """Integers and scales of a kernel, as LastValueQuantizer rounds it."""
    kernel = np.random.default_rng(0).normal(size=shape)
    top = 2 ** (num_bits - 1) - 1
    scale = np.abs(kernel).max(axis=axes, keepdims=True) / top
    return np.round(kernel / scale), scale


def model_of(layer, shape, axes, activations, num_bits=4, uses=1):
    x = inputs = keras.Input(shape, batch_size=1)
    for _ in range(uses):
        x = Range(NUM_BITS[activations])(layer(Range(NUM_BITS[activations])(x)))
    integers, scale = rounded(layer.kernel.shape, axes, num_bits)
    gain = np.sqrt(integers.size / scale.size)  # else outputs leave the range
    layer.kernel.assign(integers * scale / gain)
    if layer.bias is not None:
        layer.bias.assign(np.random.default_rng(1).normal(size=layer.bias.shape) / 4)
    return keras.Model(inputs, x), integers


def convert(model, activations):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return dedupe(int64_biases(converter.convert(), activations)).data


def int64_biases(data, activations):
    """Biases as LiteRT's kernels with int16 activations take them."""
    model = flatbuffer.read(data)
    for tensors in flatbuffer.weights(model).values():
        for tensor in tensors:
            if activations == "int16" and tensor.type == schema.TensorType.INT32:
                if tensor.quantization is None or tensor.quantization.scale is None:
                    continue
                values = flatbuffer.buffer_bytes(model, tensor.buffer)
                wide = np.frombuffer(values, np.int32).astype(np.int64)
                content = np.frombuffer(wide.tobytes(), np.uint8)
                model.buffers[tensor.buffer] = schema.BufferT(content)
                tensor.type = schema.TensorType.INT64
    return flatbuffer.pack(model)


def with_int4(data, **kwargs):
    model = flatbuffer.read(data)
    store_int4(model, **kwargs)
    return flatbuffer.pack(model)


def untouched(data):
    return flatbuffer.pack(flatbuffer.read(data))


def samples(model, count=6):
    shape = (count, 1, *model.input_shape[1:])
    return np.random.default_rng(2).normal(size=shape).astype("float32")


def outputs(data, xs, **kwargs):
    interpreter = Interpreter(model_content=data, num_threads=1, **kwargs)
    interpreter.allocate_tensors()
    rows = []
    for x in xs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        index = interpreter.get_output_details()[0]["index"]
        rows.append(interpreter.get_tensor(index))
    return np.array(rows)


def kernels(data):
    """Type and integers of each kernel of a file."""
    model = flatbuffer.read(data)
    found = []
    for index, tensors in flatbuffer.weights(model).items():
        values = np.frombuffer(flatbuffer.buffer_bytes(model, index), np.int8)
        dtype = flatbuffer.dtype_name(tensors[0].type)
        if dtype == "int4":
            values = np.stack([values << 4 >> 4, values >> 4], axis=-1).reshape(-1)
            values = values[: np.prod(tensors[0].shape)]
        if dtype in ("int4", "int8"):
            found.append((dtype, values.reshape(tensors[0].shape)))
    return found


def from_file(integers, name):
    """The order of axes in which a file has a kernel."""
    if name == "depthwise":
        return integers.reshape(1, *integers.shape[:2], -1)
    if name == "transposed":
        return np.moveaxis(integers, 2, 0)
    return np.moveaxis(integers, -1, 0)


@pytest.mark.parametrize("activations", NUM_BITS)
@pytest.mark.parametrize("name", LAYERS)
def test_integers_and_outputs(name, activations):
    shape, make, axes = LAYERS[name]
    model, integers = model_of(make(), shape, axes, activations)
    before = convert(model, activations)
    data = with_int4(before)
    [(dtype, stored)] = kernels(data)
    np.testing.assert_array_equal(stored, from_file(integers, name))
    runs = activations in int4.RUNS.get(OPERATORS[name], ())
    assert dtype == ("int4" if runs else "int8")
    saved = audit(before).weight_bytes - audit(data).weight_bytes
    assert saved == (integers.size // 2 if runs else 0)
    xs = samples(model)
    expected = np.array([model(x, training=False) for x in xs])
    for kwargs in RUNTIMES.values():
        error = np.abs(outputs(data, xs, **kwargs) - expected).max()
        # In float32, activations are rounded to 8 bits within the operator.
        steps = error / (8 / (2 ** (NUM_BITS[activations] or 8) - 1))
        assert steps <= (8 if activations == "float32" else 1.01)


@pytest.mark.parametrize("name", ["conv", "depthwise"])
def test_micro_runs_convolutions(name):
    micro = pytest.importorskip("tflite_micro")
    shape, make, axes = LAYERS[name]
    model, _ = model_of(make(), shape, axes, "int8")
    data = with_int4(convert(model, "int8"))
    assert {dtype for dtype, _ in kernels(data)} == {"int4"}
    interpreter = micro.runtime.Interpreter.from_bytes(data, arena_size=100_000)
    xs = samples(model)
    expected = outputs(data, xs, **RUNTIMES["reference"])
    for x, y in zip(xs, expected, strict=True):
        interpreter.set_input(x, 0)
        interpreter.invoke()
        np.testing.assert_allclose(interpreter.get_output(0), y, atol=8 / 255 * 1.01)


def test_operators_that_are_not_named_get_the_integers_as_int8():
    model, integers = model_of(layers.Dense(17), (63,), (0,), "int8")
    converted = convert(model, "int8")
    data = with_int4(converted, packed=("CONV_2D", "DEPTHWISE_CONV_2D"))
    [(dtype, stored)] = kernels(data)
    assert dtype == "int8"
    np.testing.assert_array_equal(stored, integers.T)
    xs = samples(model)
    np.testing.assert_array_equal(
        outputs(data, xs, **RUNTIMES["reference"]),
        outputs(with_int4(converted), xs, **RUNTIMES["reference"]),
    )


def test_tied_kernel_stays_one():
    layer = layers.Dense(17)
    model, integers = model_of(layer, (17,), (0,), "int8", uses=3)
    data = dedupe(with_int4(convert(model, "int8"))).data
    [kernel] = [b for b in audit(data).buffers if len(b.shape) == 2]
    assert (kernel.dtype, kernel.uses, kernel.nbytes) == ("int4", 3, 145)
    assert audit(data).duplicate_bytes == 0
    [(_, stored)] = kernels(data)
    np.testing.assert_array_equal(stored, integers.T)


def test_channel_of_zeros():
    model, integers = model_of(layers.Dense(17), (63,), (0,), "int8")
    kernel = model.layers[2].kernel
    integers[:, 3] = 0
    kernel.assign(kernel * (np.arange(17) != 3))
    data = with_int4(convert(model, "int8"))
    [(dtype, stored)] = kernels(data)
    assert dtype == "int4"
    np.testing.assert_array_equal(stored, integers.T)
    xs = samples(model)
    expected = np.array([model(x, training=False) for x in xs])
    for kwargs in RUNTIMES.values():
        np.testing.assert_allclose(
            outputs(data, xs, **kwargs), expected, atol=8 / 255 * 1.01
        )


@pytest.mark.parametrize("num_bits", [3, 5, 6, 7, 8])
def test_kernels_of_other_widths_are_left_alone(num_bits):
    model, _ = model_of(layers.Dense(17), (63,), (0,), "int8", num_bits)
    converted = convert(model, "int8")
    assert with_int4(converted) == untouched(converted)


@pytest.mark.parametrize("extreme", [0.0, 0.5])
def test_values_that_int8_stores_exactly_are_left_alone(extreme):
    model, _ = model_of(layers.Dense(17), (63,), (0,), "int8")
    signs = np.random.default_rng(0).choice([-1, 0, 1], size=(63, 17))
    model.layers[2].kernel.assign(extreme * signs)
    converted = convert(model, "int8")
    assert with_int4(converted) == untouched(converted)


def test_only_kernels_of_4_bits_of_a_mixed_model():
    x = inputs = keras.Input((17,), batch_size=1)
    integers = {}
    for num_bits in (8, 4):
        layer = layers.Dense(17, bias_initializer="normal")
        x = Range(8)(layer(Range(8)(x)))
        integers[num_bits], scale = rounded((17, 17), (0,), num_bits)
        layer.kernel.assign(integers[num_bits] * scale / 8)
    data = with_int4(convert(keras.Model(inputs, x), "int8"))
    stored = dict(kernels(data))
    np.testing.assert_array_equal(stored["int4"], integers[4].T)
    np.testing.assert_array_equal(stored["int8"], integers[8].T)


def test_bias_that_a_kernel_of_8_bits_has_too():
    data = convert(model_of(layers.Dense(17), (17,), (0,), "int8", uses=2)[0], "int8")
    model = flatbuffer.read(data)
    graph = model.subgraphs[0]
    first, second = [op for op in graph.operators if len(op.inputs) == 3]
    other = copy.deepcopy(graph.tensors[second.inputs[1]])
    values = np.random.default_rng(0).integers(-127, 128, (17, 17), np.int8)
    model.buffers.append(schema.BufferT(np.frombuffer(values.tobytes(), np.uint8)))
    other.buffer = len(model.buffers) - 1
    graph.tensors.append(other)
    second.inputs = [second.inputs[0], len(graph.tensors) - 1, first.inputs[2]]
    before = flatbuffer.read(flatbuffer.pack(model))
    after = flatbuffer.read(with_int4(flatbuffer.pack(model)))

    def bias(model, number):
        graph = model.subgraphs[0]
        op = [op for op in graph.operators if len(op.inputs) == 3][number]
        tensor = graph.tensors[op.inputs[2]]
        integers = flatbuffer.buffer_bytes(model, tensor.buffer)
        return np.frombuffer(integers, np.int32), tensor.quantization.scale

    np.testing.assert_array_equal(bias(before, 1), bias(after, 1))
    for part, ratio in zip((0, 1), (7 / 127, 127 / 7), strict=True):
        np.testing.assert_allclose(
            bias(after, 0)[part], bias(before, 0)[part] * ratio, atol=0.5, rtol=1e-6
        )
    assert np.any(bias(after, 0)[0] != bias(before, 0)[0])


def test_table_that_is_looked_up_is_left_alone():
    data = convert(model_of(layers.Dense(17), (63,), (0,), "int8")[0], "int8")
    model = flatbuffer.read(data)
    graph = model.subgraphs[0]
    [op] = [op for op in graph.operators if len(op.inputs) == 3]
    model.operatorCodes.append(copy.copy(model.operatorCodes[op.opcodeIndex]))
    gather = schema.BuiltinOperator.GATHER
    model.operatorCodes[-1].builtinCode = gather
    model.operatorCodes[-1].deprecatedBuiltinCode = gather
    graph.operators.append(copy.copy(op))
    graph.operators[-1].opcodeIndex = len(model.operatorCodes) - 1
    graph.operators[-1].inputs = [op.inputs[1], op.inputs[2]]
    packed = flatbuffer.pack(model)
    assert with_int4(packed) == untouched(packed)


def test_product_with_a_stack_gets_the_integers_as_int8():
    integers, scale = rounded((17, 63), None, 4)
    limit = float(7 * scale.item())

    class Product(layers.Layer):
        def build(self, _):
            self.table = self.add_weight(shape=integers.shape)
            self.table.assign(integers * scale)

        def call(self, x):
            stack = tf.quantization.fake_quant_with_min_max_vars(
                self.table.value[None], -limit, limit, narrow_range=True
            )
            return tf.linalg.matmul(x, stack, transpose_b=True)

    inputs = keras.Input((3, 63), batch_size=1)
    model = keras.Model(inputs, Range(8, 40.0)(Product()(Range(8)(inputs))))
    data = with_int4(convert(model, "int8"))
    assert "BATCH_MATMUL" in {op.name for op in audit(data).operators}
    [(dtype, stored)] = kernels(data)
    assert dtype == "int8"
    np.testing.assert_array_equal(stored[0], integers)
    xs = samples(model)
    expected = np.array([model(x, training=False) for x in xs])
    for kwargs in RUNTIMES.values():
        np.testing.assert_allclose(
            outputs(data, xs, **kwargs), expected, atol=80 / 255 * 1.01
        )


def test_every_pair_of_integers_is_packed():
    pairs = np.array([*itertools.product(range(-7, 8), repeat=2)], np.int8)
    for count in (pairs.size, pairs.size - 1):
        levels = pairs.reshape(-1)[:count]
        packed = int4._packed(levels).view(np.int8)
        unpacked = np.stack([packed << 4 >> 4, packed >> 4], axis=-1).reshape(-1)
        np.testing.assert_array_equal(unpacked[:count], levels)
