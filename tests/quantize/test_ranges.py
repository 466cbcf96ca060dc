"""Which tensors of a quantized model have one range."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

from keras_share import SharedStack, SharingPattern, export_tflite, quantize_model
from keras_share.blocks import SeparableConvBlock, TransformerBlock
from keras_share.flat.flatten import flatten
from keras_share.layers.sublayers import sublayers
from keras_share.quantize import FakeQuantize, QuantizeWeights
from keras_share.tflite.file import flatbuffer


def rounded(quantized):
    """Each use of a range: the range, and what computes the tensor it rounds."""
    graph = flatten(quantized, leaves=(QuantizeWeights,))
    uses = []
    for step in graph:
        if isinstance(step.op, FakeQuantize):
            producer = graph.producer(step.inputs[0])
            uses.append((step.op, producer.op if producer else None))
    return uses


def num_ranges(quantized):
    return sum(isinstance(part, FakeQuantize) for part in sublayers(quantized))


def stack_model(block, pattern, shape):
    inputs = keras.Input(shape)
    return randomize(keras.Model(inputs, SharedStack(block, pattern)(inputs)))


def sets_of_one_range(pattern):
    """How many ranges a stack of Dense layers has if groups share theirs.

    Tensor i enters site i, and tensor i + 1 leaves it.
    """
    labels = list(range(len(pattern) + 1))
    for a, first in enumerate(pattern):
        for b, second in enumerate(pattern):
            if first == second:
                for offset in (0, 1):
                    old, new = labels[b + offset], labels[a + offset]
                    labels = [new if label == old else label for label in labels]
    return len(set(labels))


def test_ranges_of_every_pattern_of_four_sites():
    seen = set()
    for pattern in SharingPattern.all(4):
        model = stack_model(layers.Dense(4), pattern, (4,))
        per_group = quantize_model(model, ranges="group")
        expected = sets_of_one_range(pattern.labels)
        assert num_ranges(per_group) == expected, pattern
        seen.add(expected)
    assert seen == {1, 2, 3, 4, 5} - {4}


BLOCKS = {
    "dense": (lambda: layers.Dense(8, "silu"), (8,)),
    "transformer": (
        lambda: TransformerBlock(2, 12, activation="gelu", normalize_first=True),
        (4, 8),
    ),
    "separable": (lambda: SeparableConvBlock(3), (4, 4, 8)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_deeper_tied_stack_has_no_more_ranges(name):
    make, shape = BLOCKS[name]
    found = []
    for pattern in ("AA", "AAA"):
        model = stack_model(make(), pattern, shape)
        found.append(num_ranges(quantize_model(model, ranges="group")))
    assert len(set(found)) == 1
    per_site = num_ranges(quantize_model(model, ranges="site"))
    assert per_site > 2 * found[0] - 1


@pytest.mark.parametrize(
    "name, pattern",
    [
        ("dense", "AABA"),
        ("dense", "ABAB"),
        ("dense", "AAAA"),
        ("transformer", "AABA"),
        ("separable", "ABAB"),
    ],
)
def test_the_same_place_has_one_range_at_each_site_of_a_group(name, pattern):
    make, shape = BLOCKS[name]
    model = stack_model(make(), pattern, shape)
    quantized = quantize_model(model, ranges="group")
    ranges = {}
    for fake, producer in rounded(quantized):
        if isinstance(producer, keras.Layer):
            kernel = next((id(v) for v in producer.weights if v.name == "kernel"), None)
            ranges.setdefault(kernel, set()).add(fake)
    ranges.pop(None, None)  # what has no kernel
    assert len(ranges) >= len(set(pattern))
    assert all(len(found) == 1 for found in ranges.values())

    entering = [fake for fake, producer in rounded(quantized) if producer is None]
    leaving = rounded(quantized)[-1][0]
    # What one site hands to the next has the range that the next expects.
    assert entering == [leaving]


@pytest.mark.parametrize("name", BLOCKS)
def test_file_of_a_group_has_one_scale_for_each_place(name, tmp_path):
    make, shape = BLOCKS[name]
    model = stack_model(make(), "AABA" if name == "dense" else "AA", shape)
    for found in scales_in_file(model, "group", values(16, *shape), tmp_path / "file"):
        assert len(found) == 1


def test_file_of_sites_has_a_scale_for_each(tmp_path):
    model = stack_model(layers.Dense(8, "silu"), "AAAA", (8,))
    [found] = scales_in_file(model, "site", values(16, 8), tmp_path / "file")
    assert len(found) == 4


def scales_in_file(model, ranges, x, path):
    quantized = quantize_model(model, x, ranges=ranges)
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators and report.duplicate_bytes == 0
    return scales_behind_tied_kernels(path, report)


def scales_behind_tied_kernels(path, report):
    """For each int8 weight of several uses, the scales of what is computed with it."""
    model = flatbuffer.read(path)
    [graph] = model.subgraphs
    tied = [b.index for b in report.buffers if b.dtype == "int8" and b.uses > 1]
    # Not the ones of sums.
    tied = [i for i in tied if set(flatbuffer.buffer_bytes(model, i)) != {127}]
    scales = {}
    for op in graph.operators:
        name = flatbuffer.operator_name(model, op)
        if name not in ("FULLY_CONNECTED", "CONV_2D"):
            continue
        buffer = graph.tensors[op.inputs[1]].buffer
        if buffer in tied:
            [scale] = graph.tensors[op.outputs[0]].quantization.scale
            scales.setdefault(buffer, set()).add(float(scale))
    assert scales
    return list(scales.values())


def test_calibration_of_a_group_holds_the_values_of_all_its_sites():
    x = values(16, 4)
    model = stack_model(layers.Dense(4), "AAA", (4,))
    quantized = quantize_model(model, x, ranges="group")
    [fake] = [part for part in sublayers(quantized) if isinstance(part, FakeQuantize)]
    [block] = model.layers[-1].blocks
    tensors = [x]
    for _ in range(3):
        tensors.append(ops.convert_to_numpy(block(tensors[-1])))
    lowest, highest = min(t.min() for t in tensors), max(t.max() for t in tensors)
    np.testing.assert_allclose([fake.min, fake.max], [lowest, highest], rtol=0.02)


JOINS = {
    "concatenate": lambda a, b: layers.Concatenate()([a, b]),
    "stack": lambda a, b: ops.stack([a, b], axis=1),
    "concatenate in time": lambda a, b: ops.concatenate([a, b], axis=1),
}


@pytest.mark.parametrize("name", JOINS)
def test_what_is_joined_has_one_range(name, tmp_path):
    inputs = keras.Input((4, 8))
    a, b = layers.Dense(8)(inputs), layers.Dense(8)(inputs)
    model = randomize(keras.Model(inputs, layers.Dense(3)(JOINS[name](a, b))))
    x = values(16, 4, 8)
    quantized = quantize_model(model, x)
    first, second = (fake for fake, op in rounded(quantized)[1:3])
    assert first is second
    assert num_ranges(quantized) == 3  # the input, what is joined, the output
    report = export_tflite(quantized, tmp_path / "m.tflite", representative_dataset=x)
    assert not report.float_operators


@keras.saving.register_keras_serializable(package="test_ranges")
class WithConstants(layers.Layer):
    """Puts numbers from -3 to 3 among others, in each way that there is."""

    def call(self, x):
        batch, *sizes = ops.shape(x)
        numbers = np.linspace(-3, 3, 8, dtype="float32").reshape(1, 4, 2)
        numbers = ops.broadcast_to(numbers, (batch, *sizes))
        return [
            ops.concatenate([x, numbers], axis=1),
            ops.stack([x, numbers], axis=1),
            ops.where(x > 0.5, x, numbers),
            ops.maximum(x, numbers),
            ops.pad(x, [[0, 0], [1, 1], [0, 0]], constant_values=3.0),
        ]


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", None])
def test_a_range_holds_the_constants_that_are_joined(activation, tmp_path):
    inputs = keras.Input((4, 3))
    x = layers.Dense(2, activation)(inputs)
    outputs = [layers.Flatten()(y) for y in WithConstants()(x)]
    model = randomize(keras.Model(inputs, outputs))
    data = values(16, 4, 3)
    quantized = quantize_model(model, data, strict=True)
    for actual, expected in zip(quantized(data), model(data), strict=True):
        error = ops.mean(ops.abs(actual - expected))  # a choice may be another one
        assert error < 0.02 * ops.max(ops.abs(expected))
    path = tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=data)
    assert all(output.steps < 1.01 for output in report.agreement)


MOVES = {
    "reshape": lambda x: ops.reshape(x, (-1, 32)),
    "transpose": lambda x: ops.transpose(x, (0, 2, 1)),
    "slice": lambda x: x[:, 1:3],
    "padding": layers.ZeroPadding1D(1),
    "maximum over time": layers.GlobalMaxPooling1D(),
    "average pooling": layers.AveragePooling1D(2),
    "repetition": layers.UpSampling1D(2),
    "dropout": layers.Dropout(0.5),
}


def test_what_is_moved_keeps_its_range():
    for name, move in MOVES.items():
        inputs = keras.Input((4, 8))
        x = layers.Dense(3)(move(layers.Dense(8)(inputs)))
        quantized = quantize_model(keras.Model(inputs, x))
        assert num_ranges(quantized) == 3, name


FIXED = {"Sigmoid": (0.0, 1.0), "Softmax": (0.0, 1.0), "Tanh": (-1.0, 1.0)}


def test_fixed_ranges_are_not_united_with_others(tmp_path):
    inputs = keras.Input((4, 8))
    fixed = [layers.Dense(4, name.lower())(inputs) for name in FIXED]
    x = layers.Concatenate()([*fixed, layers.Dense(4)(inputs) * 3.0])
    stack = SharedStack(layers.Dense(16, "tanh"), "AA")
    model = randomize(keras.Model(inputs, layers.Dense(3)(stack(x))))
    data = values(16, 4, 8)
    for ranges in ("site", "group"):
        quantized = quantize_model(model, data, ranges=ranges)
        for fake, op in rounded(quantized):
            assert fake.fixed == FIXED.get(type(op).__name__)
    report = export_tflite(quantized, tmp_path / "m.tflite")
    assert not report.float_operators


def test_fixed_ranges_of_one_kind_stay_where_they_are_joined():
    inputs = keras.Input((8,))
    a, b = layers.Dense(8, "sigmoid")(inputs), layers.Dense(8, "sigmoid")(inputs)
    model = keras.Model(inputs, layers.Concatenate()([a, b]))
    quantized = quantize_model(model, values(8, 8))
    assert rounded(quantized)[-1][0].fixed == (0.0, 1.0)


def test_each_input_and_output_has_a_range():
    first, second = keras.Input((8,)), keras.Input((8,))
    outputs = [layers.Dense(3)(first), layers.Dense(2)(first + second), second * 2.0]
    quantized = quantize_model(keras.Model([first, second], outputs))
    assert num_ranges(quantized) == 2 + 1 + 3


def test_ranges_must_be_known():
    model = stack_model(layers.Dense(4), "AA", (4,))
    with pytest.raises(ValueError, match=r"'site' or 'group'.*ranges='block'"):
        quantize_model(model, ranges="block")


class WithToken(layers.Layer):
    """Puts a row of its own before those of its input, for each of the batch."""

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, 4))
        self.dense = layers.Dense(4)
        self.dense.build(shape)

    def call(self, x):
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, 4))
        return ops.concatenate([token, self.dense(x)], axis=1)


def test_a_tensor_of_which_only_the_size_is_read_has_its_own_range():
    inputs, x = keras.Input((6, 4)), values(32, 6, 4) * 100
    model = keras.Model(inputs, layers.LayerNormalization()(WithToken()(inputs)))
    quantized = quantize_model(model, x, strict=True)
    graph = flatten(quantized, leaves=(QuantizeWeights,))
    [given, *_] = [step.op for step in graph if isinstance(step.op, FakeQuantize)]
    uses = [op for op, _ in rounded(quantized)]
    assert uses.count(given) == 1
