import copy
import dataclasses
import doctest
import subprocess
import sys
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from keras_share.tflite import flatbuffer
from keras_share.tflite.audit import Audit, BufferFacts, OperatorFacts, audit

UNITS = 32
KERNEL = 4 * UNITS * UNITS

pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")


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


def count_bytes(data):
    """Stored and duplicate bytes, read without the code under test."""
    root = schema.Model.GetRootAs(data, 0)
    graphs = [root.Subgraphs(i) for i in range(root.SubgraphsLength())]
    used = {g.Tensors(i).Buffer() for g in graphs for i in range(g.TensorsLength())}
    contents = Counter(
        root.Buffers(i).DataAsNumpy().tobytes()
        for i in sorted(used)
        if root.Buffers(i).DataLength()
    )
    stored = sum(len(content) * times for content, times in contents.items())
    return stored, stored - sum(map(len, contents))


def test_tied_kernel_is_one_buffer_with_three_uses(tied):
    report = audit(tied)
    (kernel,) = report.buffers
    assert (kernel.shape, kernel.dtype, kernel.nbytes) == ((32, 32), "float32", KERNEL)
    assert (kernel.uses, kernel.num_tensors, kernel.duplicate_of) == (3, 1, None)
    assert kernel.name
    assert (report.weight_bytes, report.duplicate_bytes) == (KERNEL, 0)
    assert report.operators == (OperatorFacts("FULLY_CONNECTED", "float32", 3),)
    assert report.float_operators == {"FULLY_CONNECTED": 3}
    assert (report.num_subgraphs, report.file_bytes) == (1, len(tied))


def test_int8_file(int8):
    report = audit(int8)
    assert report.float_operators == {}
    assert {(op.name, op.dtype): op.count for op in report.operators} == {
        ("FULLY_CONNECTED", "int8"): 3,
        ("TANH", "int8"): 3,
        ("QUANTIZE", "int8"): 1,
        ("DEQUANTIZE", "float32"): 1,
    }
    # One kernel for all sites. A bias has the scale of its site's input, which for
    # tanh is always 1 / 128: the last two sites share theirs.
    assert sorted((b.dtype, b.nbytes, b.uses) for b in report.buffers) == [
        ("int32", 4 * UNITS, 1),
        ("int32", 4 * UNITS, 2),
        ("int8", UNITS * UNITS, 3),
    ]
    assert report.weight_bytes == UNITS * UNITS + 2 * 4 * UNITS


def test_duplicates(duplicated):
    report = audit(duplicated)
    first, *others = report.buffers
    assert first.duplicate_of is None
    assert [b.duplicate_of for b in others] == [first.index] * 2
    assert report.weight_bytes == 3 * KERNEL
    assert report.duplicate_bytes == 2 * KERNEL


def test_uses_count_every_subgraph(duplicated):
    report = audit(duplicated)
    assert report.num_subgraphs == 2
    assert [(b.uses, b.num_tensors) for b in report.buffers] == [(2, 2)] * 3
    assert report.operators == (OperatorFacts("FULLY_CONNECTED", "float32", 6),)


@pytest.mark.parametrize("name", ["tied", "int8", "duplicated"])
def test_bytes_agree_with_an_independent_count(name, request):
    data = request.getfixturevalue(name)
    report = audit(data)
    assert (report.weight_bytes, report.duplicate_bytes) == count_bytes(data)


def test_metadata_and_empty_buffers_do_not_count(tied):
    model = flatbuffer.read(tied)
    assert any(flatbuffer.buffer_bytes(model, m.buffer) for m in model.metadata)
    model.buffers.append(schema.BufferT(b"nobody refers to this"))
    assert audit(flatbuffer.pack(model)).buffers == audit(tied).buffers


def test_operators_without_outputs_and_with_other_floats(tied):
    model = flatbuffer.read(tied)
    graph = model.subgraphs[0]
    first, second, _ = graph.operators
    first.outputs = []
    graph.tensors[second.outputs[0]].type = schema.TensorType.FLOAT16
    report = audit(flatbuffer.pack(model))
    assert {op.dtype for op in report.operators} == {"-", "float16", "float32"}
    assert report.float_operators == {"FULLY_CONNECTED": 2}


def test_path(tied, tmp_path):
    path = tmp_path / "tied.tflite"
    path.write_bytes(tied)
    assert audit(path) == audit(str(path))
    assert audit(path).path == str(path)
    assert audit(tied) == dataclasses.replace(audit(path), path=None)
    assert hash(audit(path)) == hash(audit(str(path)))


# Rendering.


def test_str(tied, duplicated, int8, tmp_path):
    path = tmp_path / "tied.tflite"
    path.write_bytes(tied)
    lines = str(audit(path)).splitlines()
    assert lines[0] == f"{path}: {len(tied):,} bytes, 1 subgraph"
    assert lines[1].startswith("weights: 4,096 bytes in 1 buffer (")
    assert lines[1].endswith("% of the file), duplicates: 0 bytes")
    assert lines[3].split() == ["bytes", "uses", "dtype", "shape", "weight"]
    assert lines[4].split()[:4] == ["4,096", "3", "float32", "32x32"]
    assert lines[-1] == "float operators: FULLY_CONNECTED x 3"
    text = str(audit(duplicated))
    assert text.startswith("model: ")
    assert "duplicates: 8,192 bytes" in text
    assert text.count("(duplicate)") == 2
    assert str(audit(int8)).endswith("float operators: none")


def test_str_of_many_weights_is_cut():
    buffers = tuple(
        BufferFacts(i, f"{'long/' * 20}kernel{i}", (i,), "int8", i, 1, 1, None)
        for i in range(1, 101)
    )
    text = str(Audit(None, 10_000, buffers, (), 1))
    assert "... and 80 more of 3,240 bytes in all" in text
    assert "kernel100" in text and "kernel81" in text and "kernel80" not in text
    assert max(map(len, text.splitlines())) <= 88
    columns = [line.index("int8") for line in text.splitlines() if "int8" in line]
    assert len(columns) == 20 and len(set(columns)) == 1


def test_str_without_weights_and_operators():
    text = str(Audit(None, 100, (), (), 0))
    assert "weights: 0 bytes in 0 buffers (0% of the file)" in text
    assert text.endswith("float operators: none")


def test_frames(duplicated, int8):
    frame = audit(duplicated).weights
    assert list(frame.columns) == [f.name for f in dataclasses.fields(BufferFacts)]
    assert frame["nbytes"].tolist() == [KERNEL] * 3
    assert frame["shape"].tolist() == [(UNITS, UNITS)] * 3
    assert frame["duplicate_of"].isna().tolist() == [True, False, False]
    assert frame["duplicate_of"].dtype == "Int64"
    assert frame.equals(audit(duplicated).to_frame())
    report = audit(int8)
    assert report.weights["nbytes"].is_monotonic_decreasing
    assert report.weights["nbytes"].sum() == report.weight_bytes
    operators = report.operators_frame
    assert operators.iloc[0].tolist() == ["FULLY_CONNECTED", "int8", 3]
    assert operators["count"].sum() == 8
    assert len(Audit(None, 1, (), (), 0).weights) == 0


# Errors and dependencies.


def test_errors_are_those_of_reading(tied, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"existing file.*gone\.tflite"):
        audit(tmp_path / "gone.tflite")
    with pytest.raises(ValueError, match="identifier b'TFL3'"):
        audit(b"PK\3\4" * 10)
    with pytest.raises(ValueError, match="truncated or damaged"):
        audit(tied[: len(tied) // 2])
    with pytest.raises(TypeError, match="Received: None"):
        audit(None)


def test_needs_no_tensorflow_and_no_pandas(tied, tmp_path):
    path = tmp_path / "tied.tflite"
    path.write_bytes(tied)
    package = Path(sys.modules[audit.__module__].__file__).parent
    # The packages' own __init__ may import Keras and with it a backend.
    code = f"""
import sys, types
sys.modules.update(tensorflow=None, keras=None, pandas=None)
for name in ("keras_share", "keras_share.tflite"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [{str(package)!r}]
from keras_share.tflite.audit import audit
print(audit({str(path)!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "float operators: FULLY_CONNECTED x 3" in done.stdout


def test_examples_run(tied, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tied.tflite").write_bytes(tied)
    results = doctest.testmod(sys.modules[audit.__module__])
    assert results.attempted and not results.failed
