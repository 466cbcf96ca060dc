import dataclasses
import doctest
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from stock import call_of_first

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.inspect.audit import Audit, BufferFacts, OperatorFacts, audit

UNITS = 32
KERNEL = 4 * UNITS * UNITS

pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")


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


def test_calls_through_a_body_that_stands_for_all_uses(tied):
    report = audit(call_of_first(tied))
    kernel, true = report.buffers
    assert (kernel.shape, kernel.uses, kernel.calls) == ((UNITS, UNITS), 1, 3)
    assert (true.dtype, true.uses, true.calls) == ("bool", 3, 3)
    assert report.macs == audit(tied).macs == 3 * UNITS**2
    assert [c.name for c in report.costs] == ["IF"] * 3 + ["FULLY_CONNECTED"]
    assert [c.calls for c in report.costs] == [1, 1, 1, 3]
    assert report.memory.packed_bytes == KERNEL
    assert audit(tied).memory.packed_bytes == 3 * KERNEL
    lines = str(report).splitlines()
    assert lines[3].split() == ["bytes", "uses", "calls", "dtype", "shape", "weight"]
    assert lines[4].split()[:3] == ["4,096", "1", "3"]


def test_calls_count_what_runs(duplicated):
    # No operator calls the second subgraph.
    assert [(b.uses, b.calls) for b in audit(duplicated).buffers] == [(2, 1)] * 3
    model = flatbuffer.read(duplicated)
    model.signatureDefs[0].subgraphIndex = 7
    with pytest.raises(ValueError, match="subgraph 7 of 2"):
        audit(flatbuffer.pack(model))


def test_metadata_are_told_in_words():
    facts = {"name": "small", "patterns": {"encoder": "ABAB"}, "labels": ["a", "b"]}
    report = Audit(None, 100, (), (), 0, metadata={**facts, "nothing": {}})
    lines = str(report).splitlines()
    assert lines[-4:-1] == ["name: small", "patterns: encoder ABAB", "labels: a, b"]


@pytest.mark.parametrize(
    "content, expected",
    [
        (b'{"pattern": "AAB", "labels": ["a"]}', {"pattern": "AAB", "labels": ["a"]}),
        (b"[1, 2]", {}),
        (b"{", {}),
        (b"\xff\xfe", {}),
        (b"[" * 100_000, {}),
    ],
    ids=["dict", "list", "cut", "binary", "deep"],
)
def test_metadata(tied, content, expected):
    assert audit(tied).metadata == {}
    model = flatbuffer.read(tied)
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"keras_share", len(model.buffers)
    model.buffers.append(schema.BufferT(np.frombuffer(content, np.uint8)))
    model.metadata.append(entry)
    report = audit(flatbuffer.pack(model))
    assert report.metadata == expected
    assert hash(report)
    assert ("pattern: AAB" in str(report).splitlines()) == bool(expected)


def test_to_dict_is_json(int8, duplicated):
    for data in (int8, duplicated):
        report = audit(data)
        facts = report.to_dict()
        assert json.loads(json.dumps(facts)) == facts
        assert facts["weight_bytes"] == report.weight_bytes
        assert facts["memory"]["total_bytes"] == report.memory.total_bytes
        assert facts["buffers"][0]["shape"] == list(report.buffers[0].shape)
        assert len(facts["costs"]) == sum(op["count"] for op in facts["operators"])
        assert facts["complaint"] == report.complaint()
    assert Audit(None, 1, (), (), 0).to_dict()["memory"] is None


def test_path(tied, tmp_path):
    path = tmp_path / "tied.tflite"
    path.write_bytes(tied)
    assert audit(path) == audit(str(path))
    assert audit(path).path == str(path)
    assert audit(tied) == dataclasses.replace(audit(path), path=None)
    assert hash(audit(path)) == hash(audit(str(path)))


# Rendering.


def test_frames(duplicated, int8):
    frame = audit(duplicated).to_dataframe()
    assert list(frame.columns) == [f.name for f in dataclasses.fields(BufferFacts)]
    assert frame["nbytes"].tolist() == [KERNEL] * 3
    assert frame["shape"].tolist() == [(UNITS, UNITS)] * 3
    assert frame["duplicate_of"].isna().tolist() == [True, False, False]
    assert frame["duplicate_of"].dtype == "Int64"
    assert frame.equals(audit(duplicated).to_dataframe("buffers"))
    report = audit(int8)
    assert report.to_dataframe()["nbytes"].is_monotonic_decreasing
    assert report.to_dataframe()["nbytes"].sum() == report.weight_bytes
    operators = report.to_dataframe("operators")
    assert operators.iloc[0].tolist() == ["FULLY_CONNECTED", "int8", 3]
    assert operators["count"].sum() == 8
    assert len(Audit(None, 1, (), (), 0).to_dataframe()) == 0
    with pytest.raises(ValueError, match=r"one of buffers, operators.*rows='weights'"):
        report.to_dataframe("weights")


def test_frames_of_costs_and_kernels(tied):
    costs = audit(tied).to_dataframe("costs")
    assert costs["name"].tolist() == ["FULLY_CONNECTED"] * 3
    assert (costs["macs"] * costs["calls"]).sum() == 3 * UNITS**2
    kernels = audit(tied).to_dataframe("kernels")
    assert kernels.empty and "state" in kernels


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
    code = f"""
import sys
sys.modules.update(tensorflow=None, keras=None, pandas=None)
from keras_share.tflite import audit
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
