"""Every pattern of sharing, rolled."""

import doctest
import math
import sys

import keras
import numpy as np
import pytest
from keras import layers
from random_data import randomize, values
from repartitioned import repartitioned

import keras_share
from keras_share import SharedStack, SharingPattern, export_tflite, roll
from keras_share.pattern.partitions import strings
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.dedupe import share_buffers
from keras_share.tflite.inspect.audit import audit
from keras_share.tflite.repeats import compare
from keras_share.tflite.repeats.line import Line
from keras_share.tflite.repeats.roll import roll_data
from keras_share.tflite.runtimes.agreement import difference, random_inputs
from keras_share.tflite.runtimes.apart import RunTimeoutError
from keras_share.tflite.runtimes.apart_process import MODES

PARTITIONS = list(strings(6, 6))
BLOCKS = {
    "transformer": (
        lambda: keras_share.blocks.TransformerBlock(num_heads=2, intermediate_dim=12),
        (4, 8),
    ),
    "separable": (lambda: keras_share.blocks.SeparableConvBlock(8), (4, 4, 8)),
    "dense": (lambda: layers.Dense(8, "relu"), (8,)),
}


class Tied(bytes):
    """A file whose six sites share all, with the name of their block."""


def export(model, path, **kwargs):
    export_tflite(model, path, target="accelerator", **kwargs)
    return path.read_bytes()


def stacked(block, pattern, **kwargs):
    make, shape = BLOCKS[block]
    stack = SharedStack(make(), pattern, **kwargs)
    model = keras.Sequential([keras.Input(shape), stack, layers.Dense(3)])
    return randomize(model)


def int8(model):
    x = values(16, *model.input_shape[1:])
    return keras_share.quantize_model(model, x, ranges="group")


@pytest.fixture(scope="module", params=BLOCKS)
def tied(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    data = Tied(export(stacked(request.param, "AAAAAA"), folder / "tied.tflite"))
    data.block = request.param
    return data


def kernel_uses(data):
    """How many operators of a file or a model use each kernel."""
    uses = {}
    model = flatbuffer.read(data) if isinstance(data, bytes) else data
    for step in Line.of(model).operations:
        if step is not None and step.kernel is not None:
            whole = isinstance(step.kernel, int)  # and not one that is made floats
            if whole and set(flatbuffer.buffer_bytes(model, step.kernel)) == {127}:
                continue  # the ones of a sum
            uses[step.kernel] = uses.get(step.kernel, 0) + 1
    return uses


def reference_difference(data, other, inputs, folder):
    """That of LiteRT's reference kernels, without a process for each."""
    outputs = []
    for content in (data, other):
        path = folder / "model.tflite"
        path.write_bytes(content)
        outputs.append(MODES["reference"]()(str(path), inputs, 1)())
    return difference(*outputs)


def furthest(data, other, shape):
    x = values(2, *shape)
    expected = keras_share.predict_tflite(data, x)
    actual = keras_share.predict_tflite(other, x)
    return np.abs(expected - actual).max() / np.abs(expected).max()


@pytest.mark.parametrize("largest", range(1, 7))
def test_every_partition(tied, largest, tmp_path):
    # Told apart by the number of groups, so that workers can take turns.
    inputs = random_inputs(flatbuffer.read(tied))
    patterns = [p for p in PARTITIONS if max(p) + 1 == largest]
    if tied.block == "transformer":  # its files are long: two sites are one
        patterns = [p for p in patterns if p[0] == p[1]]
    for pattern in patterns:
        data = repartitioned(tied, pattern)
        report = roll_data(data)
        assert reference_difference(data, report.data, inputs, tmp_path) == 0, pattern
        assert not report.left, pattern
        rolled = flatbuffer.read(report.data)
        assert set(kernel_uses(rolled).values()) == {1}, pattern
        assert not share_buffers(rolled), pattern  # nothing is stored twice
        # A body for each group with several sites, or for several groups in a cycle.
        several = sum(pattern.count(group) > 1 for group in set(pattern))
        assert bool(report.bodies) == bool(several), pattern
        assert len(report.bodies) <= several, pattern


@pytest.mark.parametrize("pattern", ["ABABAB", "ABCCBA"])
def test_made_files_are_like_converted_ones(tied, pattern, tmp_path):
    data = export(stacked(tied.block, pattern), tmp_path / "model.tflite")
    report = roll(data)
    assert not report.left
    assert furthest(data, report.data, BLOCKS[tied.block][1]) < 1e-5
    assert set(kernel_uses(report.data).values()) == {1}
    made = roll_data(repartitioned(tied, SharingPattern.get(pattern).labels))
    calls = sorted(body.calls for body in report.bodies)
    assert calls == sorted(body.calls for body in made.bodies)


@pytest.mark.parametrize(
    ("block", "quantization"),
    [("transformer", "dynamic"), ("separable", "float16"), ("dense", "float16")],
)
def test_quantized_weights(block, quantization, tmp_path):
    model = stacked(block, "AABA")
    data = export(model, tmp_path / "model.tflite", quantization=quantization)
    report = roll(data)
    assert report.bodies and not report.left
    assert set(kernel_uses(report.data).values()) == {1}
    assert furthest(data, report.data, model.input_shape[1:]) < 1e-5


@pytest.mark.parametrize("block", BLOCKS)
def test_integers_throughout(block, tmp_path):
    model = stacked(block, "ABA")
    data = export(int8(model), tmp_path / "model.tflite")
    report = roll(data)
    assert report.bodies
    assert furthest(data, report.data, model.input_shape[1:]) == 0
    if block != "dense":
        assert set(kernel_uses(report.data).values()) == {1}
    x = values(2, *model.input_shape[1:])
    micro = keras_share.tflite.run_micro(data, x)
    rolled = keras_share.tflite.run_micro(report.data, x)
    np.testing.assert_array_equal(micro.outputs, rolled.outputs)


def test_private_biases_are_added_by_the_call(tmp_path):
    block = layers.Dense(8, "relu6")
    stack = SharedStack(block, "AAAA", private=["bias"])
    model = randomize(keras.Sequential([keras.Input((8,)), stack]))
    for quantization in ("float32", "dynamic"):
        data = export(model, tmp_path / "model.tflite", quantization=quantization)
        [body] = roll(data).bodies
        assert (body.calls, body.operators, body.arguments) == (4, 2, 2)


def test_a_site_without_bias_gets_one_that_changes_nothing(tmp_path):
    # The converter merges the biases of linear sites: only the last one keeps one.
    dense = layers.Dense(8)
    model = keras.Sequential([keras.Input((8,)), dense, dense, dense])
    data = export(randomize(model), tmp_path / "model.tflite")
    places = {
        tuple(op.inputs >= 0) for op in flatbuffer.read(data).subgraphs[0].operators
    }
    report = roll(data)
    assert len(places) > 1 or report.bodies[0].arguments > 1
    assert report.bodies[0].calls == 3
    assert not report.left


def test_several_stacks_with_skips_and_masks(tmp_path):
    block = keras_share.blocks.TransformerBlock(num_heads=2, intermediate_dim=12)
    x = inputs = keras.Input((4, 8))
    mask = keras.Input((4, 4), dtype="bool")
    encoded = SharedStack(block, "ABAB")(x, attention_mask=mask)
    images = layers.Reshape((4, 4, 2))(encoded)
    first = SharedStack(keras_share.blocks.SeparableConvBlock(2), "AAA")(images)
    second = layers.Concatenate()([first, images])
    flat = layers.Flatten()(second)
    model = keras.Model([inputs, mask], [layers.Dense(3)(flat), encoded])
    data = export(randomize(model), tmp_path / "model.tflite")
    report = roll(data)
    assert not report.left
    assert sorted(body.calls for body in report.bodies) == [2, 3]
    assert set(kernel_uses(report.data).values()) == {1}


def test_several_signatures_call_the_same_body(tmp_path):
    import tensorflow as tf

    dense = layers.Dense(8, "relu")
    dense.build((1, 8))
    keras_model = keras.Sequential([keras.Input((8,)), dense])
    archive = keras.export.ExportArchive()
    archive.track(keras_model)
    spec = [tf.TensorSpec((1, 8), "float32", name="x")]
    archive.add_endpoint("once", keras_model, spec)
    archive.add_endpoint("twice", lambda x: dense(dense(x)), spec)
    archive.write_out(tmp_path / "saved", verbose=False)
    data = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")).convert()
    report = roll(data)
    [uses] = kernel_uses(data).values()
    assert uses >= 3
    assert [body.calls for body in report.bodies] == [uses]
    assert set(kernel_uses(report.data).values()) == {1}


def test_a_kernel_in_a_loop_and_outside_of_it(tmp_path):
    import tensorflow as tf

    kernel = tf.Variable(values(8, 8))

    @tf.function(input_signature=[tf.TensorSpec((1, 8))])
    def looped(x):
        def body(i, x):
            return i + 1, tf.nn.relu(tf.matmul(x, kernel))

        _, x = tf.while_loop(lambda i, x: i < 3, body, (0, tf.matmul(x, kernel)))
        return tf.nn.relu(tf.matmul(x, kernel))

    module = tf.Module()
    module.looped, module.kernel = looped, kernel
    functions = [looped.get_concrete_function()]
    converter = tf.lite.TFLiteConverter.from_concrete_functions(functions, module)
    data = converter.convert()
    report = roll(data)
    # That in front of the loop has no activation.
    assert [body.calls for body in report.bodies] == [2]
    assert ["the options" in left.reason for left in report.left] == [True]


def test_every_runtime_runs_rolled_files(tmp_path):
    model = stacked("dense", "ABAB")
    data = export(model, tmp_path / "model.tflite")
    report = keras_share.benchmark(
        {"rolled": roll(data).data},
        modes=("interpreter", "reference", "compiled", "compiled_cache", "micro"),
        runs=1,
        rounds=1,
    )
    assert [row.error for row in report.rows] == [""] * 5
    assert max(row.difference for row in report.rows) < 1e-6


def test_dynamic_batch(tmp_path):
    model = stacked("transformer", "AAA")
    path = tmp_path / "model.tflite"
    export_tflite(model, path, target="cpu", dynamic_batch=True)
    assert audit(path.read_bytes()).metadata
    x = values(5, 4, 8)
    expected = np.asarray(model(x))
    actual = keras_share.predict_tflite(path, x)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_a_rolled_file_is_left_as_it_is(tied):
    rolled = roll_data(tied).data
    report = roll(rolled)
    assert report.data is rolled
    assert str(report).startswith("nothing to roll")


def test_nothing_is_shared(tmp_path):
    model = stacked("dense", "ABC")
    data = export(model, tmp_path / "model.tflite")
    assert roll(data).bodies == ()


def test_small_kernels_stay_if_asked(tied):
    report = roll(tied, min_bytes=10**6)
    assert report.data is tied
    assert {left.packed for left in report.left} == {6}
    assert "`min_bytes` (1000000)" in str(report)


def late(*_, timeout, **__):
    raise RunTimeoutError(f"it was ended after {timeout} seconds")


def test_errors_leave_no_file(tmp_path, tied, monkeypatch):
    out = tmp_path / "rolled.tflite"
    with pytest.raises(ValueError, match="truncated or damaged"):
        roll(tied[:500], out)
    with pytest.raises(FileNotFoundError, match="existing file"):
        roll(tmp_path / "none.tflite", out)
    with monkeypatch.context() as patch:
        patch.setattr(compare, "run_apart", late)
        with pytest.raises(ValueError, match="within `timeout` seconds"):
            roll(tied, out, timeout=60)
    for timeout in (0, math.nan, math.inf, None, "5"):
        with pytest.raises(ValueError, match="`timeout` must be a number of seconds"):
            roll(tied, out, timeout=timeout)
    with pytest.raises(FileNotFoundError, match="existing folder"):
        roll(tied, tmp_path / "none" / "rolled.tflite")
    assert not out.exists()


def test_a_file_that_differs_is_not_written(tmp_path, tied, monkeypatch):
    module = sys.modules[roll.__module__]

    def wrong(data, min_bytes):
        report = roll_data(data, min_bytes)
        model = flatbuffer.read(report.data)
        buffer = max(model.buffers, key=lambda b: 0 if b.data is None else len(b.data))
        buffer.data = np.array(buffer.data) ^ 1
        return type(report)(*list(vars(report).values())[:-1], flatbuffer.pack(model))

    monkeypatch.setattr(module, "roll_data", wrong)
    out = tmp_path / "rolled.tflite"
    with pytest.raises(
        RuntimeError, match=r"its outputs are others. Nothing was written"
    ):
        roll(tied, out)
    assert not out.exists()


def test_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(sys.modules[roll.__module__])
    assert results.attempted and not results.failed
