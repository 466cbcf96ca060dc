import numpy as np
import pytest
from stock import model_of, operator, tensor

from keras_share.tflite.file.stored import bits, constants, nbytes, read_stored


def read(*args, **kwargs):
    made = tensor(*args, **kwargs)
    return read_stored(model_of(([made], [])), made)


@pytest.mark.parametrize(
    "dtype, expected",
    [
        ("float32", 32), ("float16", 16), ("bfloat16", 16), ("float64", 64),
        ("int8", 8), ("uint8", 8), ("int4", 4), ("uint4", 4), ("int2", 2),
        ("int64", 64), ("complex64", 64), ("bool", 8), ("float8_e4m3fn", 8),
        ("string", 0), ("resource", 0), ("variant", 0), ("type_99", 0),
    ],
)  # fmt: skip
def test_bits(dtype, expected):
    assert bits(dtype) == expected


def test_nbytes():
    assert nbytes(tensor((3, 5))) == 60
    assert nbytes(tensor((3, 5), "int4")) == 8
    assert nbytes(tensor((-1, 5), "int16")) == 10
    assert nbytes(tensor((), "int8")) == 1
    without = tensor(())
    without.shape = None
    assert nbytes(without) == 4


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_within_their_slack(dtype):
    numbers = np.random.default_rng(0).normal(size=(4, 50))
    numbers[0] *= 1e-6  # subnormal in half precision
    stored = read((4, 50), dtype, numbers.astype(dtype))
    assert stored.values.dtype == "float32"
    if dtype == "float16":
        assert (np.abs(stored.values - numbers) <= stored.slack).all()
        assert (np.abs(stored.values - numbers) > stored.slack / 2).any()
    else:
        np.testing.assert_array_equal(stored.values, numbers.astype("float32"))


def test_every_int4():
    levels = np.arange(-8, 8)
    packed = (levels[::2] & 15 | (levels[1::2] & 15) << 4).astype("uint8")
    stored = read((16,), "int4", packed, scale=[0.5])
    np.testing.assert_array_equal(stored.values, levels / 2)
    assert stored.slack == 0.25
    odd = read((15,), "int4", packed, scale=[1.0])
    np.testing.assert_array_equal(odd.values, levels[:15])
    np.testing.assert_array_equal(
        read((16,), "uint4", packed, scale=[1.0]).values, levels & 15
    )


def test_every_int8_with_a_zero_point():
    levels = np.arange(-128, 128, dtype="int8")
    stored = read((256,), "int8", levels, scale=[0.25], zeroPoint=[-3])
    np.testing.assert_array_equal(stored.values, (levels.astype(int) + 3) / 4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scales_of_channels(axis):
    shape = (2, 3, 4)
    levels = np.arange(24, dtype="int16").reshape(shape)
    scale = np.arange(1, shape[axis] + 1) / 8
    points = np.arange(shape[axis])
    stored = read(
        shape, "int16", levels, scale=scale, zeroPoint=points, quantizedDimension=axis
    )
    for index in np.ndindex(shape):
        channel = index[axis]
        expected = (int(levels[index]) - channel) * (channel + 1) / 8
        assert stored.values[index] == expected
        slack = np.broadcast_to(stored.slack, shape)[index]
        assert slack == (channel + 1) / 16


def test_what_is_no_weight():
    eight = np.zeros(8, "int32")
    assert read((8,), "int32", eight) is None  # no scale
    assert read((8,), "int32", eight, scale=[1.0, 2.0]) is None
    assert read((8,), "int32", eight, scale=[1.0] * 8, quantizedDimension=5) is None
    assert read((8,), "int32", eight, scale=[1.0], details=object()) is None
    assert read((9,), "float32", eight.astype("float32")) is None  # too few
    assert read((8,), "string", eight) is None
    assert read((-8, -1), "int32", eight, scale=[1.0]) is None
    assert read((32,), "int2", eight[:2], scale=[1.0]) is None


def test_constants_behind_dequantize():
    half = tensor((2,), "float16", np.ones(2, "float16"))
    tensors = [tensor((2,)), half, tensor((2,)), tensor((2,))]
    ops = [operator("DEQUANTIZE", [1], [2]), operator("ADD", [0, 2], [3])]
    model = model_of((tensors, ops))
    found = constants(model, model.subgraphs[0], {half.buffer})
    assert found == {1: half, 2: half}
