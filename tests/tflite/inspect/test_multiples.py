import numpy as np
import pytest
from random_data import values
from stock import model_of, tensor

from keras_share.tflite.file.stored import Stored
from keras_share.tflite.inspect.multiples import find_multiples, is_multiple

SHAPES = [(6, 7), (8, 1, 1, 6), (5, 3, 3, 4), (1, 3, 3, 8), (3, 2, 40)]


def along(factors, shape, axis):
    """Factors in a shape that goes with the array's."""
    return np.moveaxis(factors.reshape(*[1] * (len(shape) - 1), -1), -1, axis)


def folded(kernel, axis, seed=9):
    """A kernel times factors of mixed sign and up to four times another."""
    factors = values(kernel.shape[axis], seed=seed)
    factors = np.sign(factors) * np.clip(np.abs(factors), 0.5, 2)
    return kernel * along(factors, kernel.shape, axis)


def stored_as(dtype, kernel):
    """A tensor of a kernel; with one scale per first axis if in integers."""
    if dtype.startswith("float"):
        return tensor(kernel.shape, dtype, kernel.astype(dtype))
    scale = np.abs(kernel).max(axis=tuple(range(1, kernel.ndim))) / 127
    integers = np.round(kernel / along(scale, kernel.shape, 0)).astype("int8")
    return tensor(kernel.shape, dtype, integers, scale=scale, quantizedDimension=0)


def multiples_of(*tensors):
    return find_multiples(model_of((tensors, [])))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_folded_copies_are_found(shape, axis, dtype):
    if np.prod(shape) / shape[axis] < 3:
        pytest.skip("channels of one value")
    if dtype == "int8" and shape[axis] == 1:
        pytest.skip("a factor of all goes into the scale: the integers are the same")
    kernel, other = values(*shape), values(*shape, seed=1)
    kernels = [kernel, other, folded(kernel, axis), folded(other, axis, 3)]
    kernels += [folded(kernel, axis, 4)]
    found = multiples_of(*(stored_as(dtype, k) for k in kernels))
    # By number of the buffer, which is one more than that of the kernel.
    assert found == {3: 1, 4: 2, 5: 1}


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_other_kernels_are_not(dtype):
    kernels = [values(12, 10, seed=seed) for seed in range(30)]
    near = kernels[0] * 1.5
    near[3, 4] += 0.5
    transposed = values(10, 12).T
    kernels += [near, transposed, np.abs(kernels[0]) + 1]
    assert multiples_of(*(stored_as(dtype, k) for k in kernels)) == {}


def test_equal_content_types_and_shapes_are_not_compared():
    kernel = values(6, 8)
    copies = [kernel, kernel, kernel.reshape(8, 6) * 2, kernel.astype("float16")]
    assert multiples_of(*(stored_as(str(k.dtype), k) for k in copies)) == {}


def test_vectors_and_short_channels_are_not_compared():
    vectors = [values(1, 40, seed=seed) for seed in range(3)]
    short = [values(2, 40, seed=seed)[:, :2] for seed in range(3)]
    assert multiples_of(*(stored_as("float32", k) for k in vectors + short)) == {}


def test_zeros_and_infinity():
    kernel = values(6, 8)
    broken = np.where(kernel > 1, np.inf, kernel)
    kernels = [kernel, np.zeros((6, 8), "float32"), broken, -broken]
    assert multiples_of(*(stored_as("float32", k) for k in kernels)) == {}


@pytest.mark.parametrize("axis", [0, -1])
def test_is_multiple(axis):
    def exact(kernel):
        return Stored(kernel, np.float32(0))

    kernel = values(5, 3, 4)
    multiple = folded(kernel, axis)
    assert is_multiple(exact(multiple), exact(kernel), axis)
    assert not is_multiple(exact(multiple), exact(kernel), -1 - axis)
    assert not is_multiple(exact(kernel * 0), exact(kernel), axis)
    # A channel that was switched off is a multiple, one that was not there is none.
    off = multiple.copy()
    (off if axis == 0 else off.T)[2] = 0
    assert is_multiple(exact(off), exact(kernel), axis)
    assert not is_multiple(exact(kernel), exact(off), axis)


def test_hundreds_of_kernels_are_quick():
    # Comparing all pairs would read 80,000 kernels.
    kernels = [values(16, 16, seed=seed) for seed in range(400)]
    kernels += [folded(kernel, 0, seed=7) for kernel in kernels[::100]]
    found = multiples_of(*(stored_as("float32", k) for k in kernels))
    assert found == {401: 1, 402: 101, 403: 201, 404: 301}
