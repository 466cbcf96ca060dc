import copy
import doctest
import sys
import zipfile

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from keras_share.tflite import predict_tflite
from keras_share.tflite.file import flatbuffer

UNITS = 32
X = np.linspace(-1, 1, UNITS, dtype="float32")[None]


def data_offsets(data):
    """Where each buffer's content starts in the file."""
    start = np.frombuffer(data, np.uint8).ctypes.data
    root = schema.Model.GetRootAs(data, 0)
    buffers = [root.Buffers(i) for i in range(root.BuffersLength())]
    return [b.DataAsNumpy().ctypes.data - start for b in buffers if b.DataLength()]


# Reading and writing back.


def test_reads_path_and_bytes_alike(tied, tmp_path):
    path = tmp_path / "tied.tflite"
    path.write_bytes(tied)
    sources = (tied, bytearray(tied), memoryview(tied), path, str(path))
    packed = {flatbuffer.pack(flatbuffer.read(source)) for source in sources}
    assert len(packed) == 1


def test_round_trip_keeps_contents_and_outputs(tied, model):
    packed = flatbuffer.pack(model)
    again = flatbuffer.read(packed)
    indices = range(len(model.buffers))
    assert [flatbuffer.buffer_bytes(again, i) for i in indices] == [
        flatbuffer.buffer_bytes(model, i) for i in indices
    ]
    assert flatbuffer.pack(again) == packed
    np.testing.assert_array_equal(predict_tflite(packed, X), predict_tflite(tied, X))


def test_packed_buffers_are_aligned_to_16_bytes(model):
    model.buffers += [
        schema.BufferT(np.full(size, size, np.uint8)) for size in (1, 3, 5, 17, 64, 7)
    ]
    packed = flatbuffer.pack(model)
    offsets = data_offsets(packed)
    assert len(offsets) >= 7
    assert [offset % 16 for offset in offsets] == [0] * len(offsets)
    assert predict_tflite(packed, X).shape == (1, UNITS)


def test_pack_takes_any_bytes_and_leaves_the_model(model):
    count = len(model.buffers)
    model.buffers += [schema.BufferT(data) for data in (b"abc", [97, 98, 99], None)]
    before = list(model.buffers)
    again = flatbuffer.read(flatbuffer.pack(model))
    contents = [flatbuffer.buffer_bytes(again, count + i) for i in range(3)]
    assert contents == [b"abc", b"abc", b""]
    assert model.buffers == before


# Names.


def test_operator_names(model):
    operator = model.subgraphs[0].operators[0]
    assert flatbuffer.operator_name(model, operator) == "FULLY_CONNECTED"
    custom = schema.OperatorCodeT(32, b"FlexErf", 1, builtinCode=32)
    codes = {
        "GELU": schema.OperatorCodeT(127, builtinCode=schema.BuiltinOperator.GELU),
        "ADD": schema.OperatorCodeT(schema.BuiltinOperator.ADD),
        "CUSTOM:FlexErf": custom,
        "OPERATOR_9999": schema.OperatorCodeT(127, builtinCode=9999),
    }
    model.operatorCodes = list(codes.values())
    operators = [schema.OperatorT(i) for i in range(len(codes))]
    assert [flatbuffer.operator_name(model, op) for op in operators] == list(codes)


def test_dtype_names():
    assert flatbuffer.dtype_name(schema.TensorType.INT8) == "int8"
    assert flatbuffer.dtype_name(schema.TensorType.BFLOAT16) == "bfloat16"
    assert flatbuffer.dtype_name(99) == "type_99"


# What is no model, or not whole.


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lead to an existing file.*no\.tfl"):
        flatbuffer.read(tmp_path / "no.tflite")
    with pytest.raises(FileNotFoundError, match="Check the path"):
        flatbuffer.read(tmp_path)


def test_source_of_another_type():
    with pytest.raises(
        TypeError, match=r"path .* or as bytes.*Received: 3 of type int"
    ):
        flatbuffer.read(3)


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x1c\0\0\0TFL2", b"hello world" * 9])
def test_not_a_tflite_file(data):
    with pytest.raises(ValueError, match=f"identifier b'TFL3'.*: {len(data)} bytes"):
        flatbuffer.read(data)


def test_another_kind_of_file_is_named(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", "{}")
    with pytest.raises(ValueError, match=r"model\.keras' of .*b'PK.*converted first"):
        flatbuffer.read(path)


# What can't be written.


def test_too_large_for_a_flatbuffer(model):
    model.buffers += [schema.BufferT(np.zeros(2**20, np.uint8))] * 2048
    with pytest.raises(ValueError, match=r"at most 2147483647 bytes.*Received: const"):
        flatbuffer.pack(model)


@pytest.mark.parametrize("field", ["builtinOptions", "builtinOptions2"])
def test_unknown_options_are_not_dropped(model, field):
    operator = copy.copy(model.subgraphs[0].operators[0])
    setattr(operator, field, None)
    setattr(operator, f"{field}Type", 250)
    model.subgraphs[0].operators[0] = operator
    with pytest.raises(ValueError, match=r"FULLY_CONNECTED with options .*Upgrade"):
        flatbuffer.pack(model)


def test_examples_run(tied, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tied.tflite").write_bytes(tied)
    results = doctest.testmod(sys.modules[flatbuffer.__name__])
    assert results.attempted and not results.failed
