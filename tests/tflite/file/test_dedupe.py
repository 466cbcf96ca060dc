import copy
import doctest
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.dedupe import dedupe
from keras_share.tflite.inspect.audit import audit

UNITS = 32
KERNEL = 4 * UNITS * UNITS
BIAS = 4 * UNITS

pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")


def separate_layers(scales):
    """Three Dense layers that share nothing but the values of their weights."""
    x = keras.Input((UNITS,), batch_size=1)
    layers = [keras.layers.Dense(UNITS, activation="tanh") for _ in scales]
    y = x
    for layer in layers:
        y = layer(y)
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(0, 0.2, (UNITS, UNITS)), rng.normal(0, 0.1, UNITS)
    for layer, scale in zip(layers, scales, strict=True):
        layer.set_weights([scale * kernel, bias])
    return tf.lite.TFLiteConverter.from_keras_model(keras.Model(x, y))


def store_per_use(data):
    """Stores weights once per use, as ai-edge-quantizer does; metadata come last."""
    model = flatbuffer.read(data)
    weights, seen = flatbuffer.weights(model), set()
    for graph in model.subgraphs:
        for op in graph.operators:
            inputs = list(op.inputs)
            for place, index in enumerate(inputs):
                tensor = copy.copy(graph.tensors[index])
                if tensor.buffer in seen:
                    tensor.buffer = append_copy(model, tensor.buffer)
                    inputs[place] = len(graph.tensors)
                    graph.tensors.append(tensor)
                elif tensor.buffer in weights:
                    seen.add(tensor.buffer)
            op.inputs = inputs
    for entry in model.metadata:
        entry.buffer = append_copy(model, entry.buffer)
    return flatbuffer.pack(model)


def append_copy(model, index):
    data = flatbuffer.buffer_bytes(model, index)
    model.buffers.append(schema.BufferT(np.frombuffer(data, np.uint8)))
    return len(model.buffers) - 1


@pytest.fixture(scope="module")
def converted():
    return separate_layers((1, 1, 1)).convert()


@pytest.fixture(scope="module")
def duplicated(converted):
    return store_per_use(converted)


@pytest.fixture(scope="module")
def duplicated_int8():
    # Kernels of 1, 2 and 4 times the size are the same integers at other scales.
    converter = separate_layers((1, 2, 4))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([x] for x in samples())
    return store_per_use(converter.convert())


def samples(count=8):
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, 1, UNITS)).astype("float32")


def outputs(data, **kwargs):
    interpreter = Interpreter(model_content=data, num_threads=1, **kwargs)
    interpreter.allocate_tensors()
    result = []
    for x in samples():
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        index = interpreter.get_output_details()[0]["index"]
        result.append(interpreter.get_tensor(index))
    return np.array(result)


def assert_same_outputs(one, other):
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    for kwargs in ({}, {"experimental_op_resolver_type": plain}):
        np.testing.assert_array_equal(
            outputs(one, **kwargs), outputs(other, **kwargs), strict=True
        )


def metadata(data):
    model = flatbuffer.read(data)
    return {
        entry.name: flatbuffer.buffer_bytes(model, entry.buffer)
        for entry in model.metadata
    }


def test_equal_weights_are_stored_once(converted, duplicated):
    assert audit(duplicated).weight_bytes == 3 * (KERNEL + BIAS)
    assert audit(duplicated).duplicate_bytes == 2 * (KERNEL + BIAS)
    smaller = dedupe(duplicated).data
    report = audit(smaller)
    assert (report.weight_bytes, report.duplicate_bytes) == (KERNEL + BIAS, 0)
    assert [(b.nbytes, b.uses, b.num_tensors) for b in report.buffers] == [
        (KERNEL, 3, 3),
        (BIAS, 3, 3),
    ]
    assert len(smaller) <= len(duplicated) - 2 * (KERNEL + BIAS)
    assert_same_outputs(smaller, duplicated)
    assert_same_outputs(smaller, converted)


def test_int8_of_different_scales(duplicated_int8):
    before, after = audit(duplicated_int8), audit(dedupe(duplicated_int8).data)
    assert before.duplicate_bytes >= 2 * UNITS * UNITS
    assert after.duplicate_bytes == 0
    assert after.weight_bytes == before.weight_bytes - before.duplicate_bytes
    assert after.operators == before.operators
    assert_same_outputs(dedupe(duplicated_int8).data, duplicated_int8)


def test_tensors_keep_everything_but_their_buffer(duplicated_int8):
    def tensors(data):
        return [
            (t.name, t.type, list(t.shape), quantization(t))
            for t in flatbuffer.read(data).subgraphs[0].tensors
        ]

    def quantization(tensor):
        q = tensor.quantization
        return q and [np.asarray(part).tolist() for part in (q.scale, q.zeroPoint)]

    assert tensors(dedupe(duplicated_int8).data) == tensors(duplicated_int8)


def test_nothing_twice_returns_the_same_object(converted, duplicated):
    assert dedupe(converted).data is converted
    smaller = dedupe(duplicated).data
    assert dedupe(smaller).data is smaller


def test_metadata_are_renumbered(duplicated):
    smaller = dedupe(duplicated).data
    assert metadata(smaller) == metadata(duplicated)
    assert all(metadata(smaller).values())
    before, after = flatbuffer.read(duplicated), flatbuffer.read(smaller)
    assert len(flatbuffer.weights(after)) == len(flatbuffer.weights(before)) - 4
    used = {t.buffer for graph in after.subgraphs for t in graph.tensors}
    used |= {0, *(entry.buffer for entry in after.metadata)}
    assert used == set(range(len(after.buffers)))


def test_list_of_metadata_buffers_is_renumbered(duplicated):
    model = flatbuffer.read(duplicated)
    model.metadataBuffer = [entry.buffer for entry in model.metadata]
    again = flatbuffer.read(dedupe(flatbuffer.pack(model)).data)
    assert list(again.metadataBuffer) == [entry.buffer for entry in again.metadata]


def test_metadata_never_share_a_buffer_with_weights(duplicated):
    model = flatbuffer.read(duplicated)
    kernels = [i for i, t in flatbuffer.weights(model).items() if t[0].shape.size == 2]
    model.metadata[0].buffer = kernels[-1]
    data = flatbuffer.pack(model)
    report = audit(dedupe(data).data)
    assert report.duplicate_bytes == KERNEL
    assert metadata(dedupe(data).data) == metadata(data)


def test_buffer_0_stays_the_empty_one(duplicated):
    model = flatbuffer.read(dedupe(duplicated).data)
    assert flatbuffer.buffer_bytes(model, 0) == b""
    assert 0 not in flatbuffer.weights(model)


def test_state_of_variable_tensors_stays_apart(duplicated):
    model = flatbuffer.read(duplicated)
    for tensors in flatbuffer.weights(model).values():
        for tensor in tensors:
            tensor.isVariable = tensor.shape.size == 2
    report = audit(dedupe(flatbuffer.pack(model)).data)
    assert sorted(b.nbytes for b in report.buffers) == [BIAS] + 3 * [KERNEL]


def test_duplicates_across_subgraphs(converted):
    model = flatbuffer.read(converted)
    graph = copy.deepcopy(model.subgraphs[0])
    copies = {i: append_copy(model, i) for i in flatbuffer.weights(model)}
    for tensor in graph.tensors:
        tensor.buffer = copies.get(tensor.buffer, tensor.buffer)
    model.subgraphs.append(graph)
    data = flatbuffer.pack(model)
    assert audit(data).duplicate_bytes == KERNEL + BIAS
    report = audit(dedupe(data).data)
    assert (report.num_subgraphs, report.duplicate_bytes) == (2, 0)
    assert {b.uses for b in report.buffers} == {6}
    assert_same_outputs(dedupe(data).data, converted)


def test_constants_stay_aligned(duplicated_int8):
    data = dedupe(duplicated_int8).data
    start = np.frombuffer(data, np.uint8).ctypes.data
    root = schema.Model.GetRootAs(data, 0)
    buffers = [root.Buffers(i) for i in range(root.BuffersLength())]
    offsets = [b.DataAsNumpy().ctypes.data - start for b in buffers if b.DataLength()]
    assert offsets and not any(offset % 16 for offset in offsets)


def test_a_path_and_where_to_write(duplicated, tmp_path):
    path, out = tmp_path / "model.tflite", tmp_path / "smaller.tflite"
    path.write_bytes(duplicated)
    report = dedupe(path, out)
    assert out.read_bytes() == report.data == dedupe(duplicated).data
    assert report.to_dict() == {"bytes": [len(duplicated), len(report.data)]}
    assert str(report) == f"bytes {len(duplicated):,} -> {len(report.data):,}"
    assert "nothing is stored twice" in str(dedupe(out))
    with pytest.raises(FileNotFoundError, match="existing folder"):
        dedupe(path, tmp_path / "none" / "smaller.tflite")


def test_no_model():
    with pytest.raises(FileNotFoundError, match=r"existing file.*'a\.tflite'"):
        dedupe("a.tflite")
    with pytest.raises(TypeError, match=r"as a path .* or as bytes. Received: 3"):
        dedupe(3)
    with pytest.raises(ValueError, match=r"identifier b'TFL3'.*Received: 5 bytes"):
        dedupe(b"nope!")


def test_examples_run(duplicated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "duplicated.tflite").write_bytes(duplicated)
    results = doctest.testmod(sys.modules[dedupe.__module__])
    assert results.attempted and not results.failed
