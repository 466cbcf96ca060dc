"""Files that lack something, keep it elsewhere, or say what is not so."""

import random

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from keras_share.tflite import predict_tflite
from keras_share.tflite.file import flatbuffer

UNITS = 32
X = np.linspace(-1, 1, UNITS, dtype="float32")[None]


def test_buffers_behind_the_flatbuffer_are_brought_in(tied, model):
    (index,) = flatbuffer.weights(model)
    kernel = flatbuffer.buffer_bytes(model, index)
    operator = model.subgraphs[0].operators[0]
    # A field's place in the file does not depend on its value unless that is 0.
    for offset in (16, len(_behind(model, index, operator, 16))):
        data = _behind(model, index, operator, offset)
    data += kernel
    read = flatbuffer.read(data)
    assert flatbuffer.buffer_bytes(read, index) == kernel
    assert bytes(read.subgraphs[0].operators[0].customOptions) == kernel[:8]
    assert read.buffers[index].offset == 0
    np.testing.assert_array_equal(
        predict_tflite(flatbuffer.pack(read), X), predict_tflite(tied, X)
    )
    with pytest.raises(ValueError, match="truncated or damaged"):
        flatbuffer.read(data[:-1])


def _behind(model, index, operator, offset):
    model.buffers[index] = schema.BufferT(None, offset, UNITS * UNITS * 4)
    operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize = offset, 8
    data = flatbuffer.pack(model)
    return data + bytes(-len(data) % 16)


def test_lists_a_file_leaves_out_are_empty():
    builder = flatbuffers.Builder()
    builder.Finish(schema.ModelT(3).Pack(builder), file_identifier=b"TFL3")
    read = flatbuffer.read(bytes(builder.Output()))
    assert (read.subgraphs, read.buffers, read.operatorCodes) == ([], [], [])


def test_truncated_at_any_byte_is_a_value_error(tied, tmp_path):
    cuts = [*range(1, 9), *random.Random(0).sample(range(len(tied)), 200)]
    cuts.append(len(tied) - 1)
    for cut in cuts:
        with pytest.raises(ValueError, match=r"Received: .* bytes"):
            flatbuffer.read(tied[:cut])
    path = tmp_path / "cut.tflite"
    path.write_bytes(tied[:1000])
    with pytest.raises(ValueError, match=r"cut\.tflite' of 1000 bytes, truncated"):
        flatbuffer.read(path)


def test_damaged_bytes_are_read_or_refused(tied):
    rng = random.Random(0)
    refused = 0
    for _ in range(500):
        data = bytearray(tied)
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(8, len(data))] = rng.choice((0, 1, 127, 128, 255))
        try:
            flatbuffer.read(data)
        except ValueError as error:
            assert "truncated or damaged" in str(error)
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("count", [2**12, 2**31, 2**32 - 1])
def test_length_beyond_the_file(tied, count):
    root = schema.Model.GetRootAs(tied, 0)
    length = root.BuffersLength().to_bytes(4, "little")
    # The vector of buffers is the one that is this long and not of subgraphs.
    at = [i for i in range(0, len(tied), 4) if tied[i : i + 4] == length]
    refused = 0
    for i in at:
        data = tied[:i] + count.to_bytes(4, "little") + tied[i + 4 :]
        try:
            flatbuffer.read(data)
        except ValueError as error:
            refused += f"entries in {len(tied)} bytes" in str(error)
    assert refused == 1


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda m: setattr(m.subgraphs[0].tensors[0], "buffer", 99), "buffer 99 of"),
        (lambda m: setattr(m.subgraphs[0], "inputs", [77]), "tensor 77 of"),
        (lambda m: setattr(m.subgraphs[0].operators[0], "inputs", [-2]), "tensor -2"),
        (lambda m: setattr(m.subgraphs[0].operators[0], "opcodeIndex", 5), "code 5 of"),
        (lambda m: setattr(m.metadata[0], "buffer", 50), "buffer 50 of"),
        (lambda m: setattr(m, "metadataBuffer", [60]), "buffer 60 of"),
    ],
)
def test_reference_to_nothing(model, damage, message):
    damage(model)
    with pytest.raises(ValueError, match=f"truncated or damaged.*{message}"):
        flatbuffer.read(flatbuffer.pack(model))


def _told_again(field, count=3000):
    """A file in which tables have one large vector in common, `count` times."""
    builder = flatbuffers.Builder()

    def tables(start, offsets):
        start(builder, len(offsets))
        for offset in offsets:
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    if field == "name":
        part = builder.CreateString("a" * 20_000)
    elif field == "inputs":
        part = builder.CreateNumpyVector(np.zeros(20_000, "int32"))
    else:
        schema.VariantSubTypeStart(builder)
        inner = [schema.VariantSubTypeEnd(builder)] * count
        part = tables(schema.TensorStartVariantTensorsVector, inner)
    kind = "Operator" if field == "inputs" else "Tensor"
    getattr(schema, f"{kind}Start")(builder)
    getattr(schema, f"{kind}Add{field[0].upper()}{field[1:]}")(builder, part)
    one = getattr(schema, f"{kind}End")(builder)
    many = tables(getattr(schema, f"SubGraphStart{kind}sVector"), [one] * count)
    schema.SubGraphStart(builder)
    getattr(schema, f"SubGraphAdd{kind}s")(builder, many)
    graph = schema.SubGraphEnd(builder)
    graphs = tables(schema.ModelStartSubgraphsVector, [graph])
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    "field, told",
    [
        ("name", "strings of more than"),
        ("inputs", "60000000 inputs and outputs in"),
        ("variantTensors", "9003001 entries in"),
    ],
)
def test_what_is_referred_to_again_and_again_is_not_read_as_often(field, told):
    with pytest.raises(ValueError, match=told):
        flatbuffer.read(_told_again(field))


def test_tensors_have_a_size(model):
    tensor = model.subgraphs[0].tensors[0]
    tensor.shape = np.array([2**31 - 1, 2**31 - 1], "int32")
    flatbuffer.read(flatbuffer.pack(model))
    tensor.shape = np.array([2**31 - 1] * 40, "int32")
    with pytest.raises(ValueError, match="a tensor of 40 axes is too large"):
        flatbuffer.read(flatbuffer.pack(model))
