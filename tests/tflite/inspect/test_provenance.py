import itertools

import keras
import numpy as np
import pytest
from keras import layers
from random_data import randomize, values
from stock import SCHEMES, convert, model_of, tensor

import keras_share
from keras_share import export_tflite, quantize_model
from keras_share.tflite.inspect.audit import audit
from keras_share.tflite.inspect.provenance import Candidate, candidates_of, find_origins

pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")


def everything():
    """Each kind of kernel that the converter stores in another order of axes."""
    x = keras.Input((12, 12, 8), batch_size=1)
    y = layers.Conv2D(12, 3, activation="tanh")(x)
    y = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="tanh")(y)
    y = layers.Conv2DTranspose(10, 2, strides=2, activation="tanh")(y)
    y = layers.Reshape((-1, 20))(y)
    y = layers.EinsumDense("abc,cde->abde", (None, 4, 11), bias_axes="de")(y)
    y = layers.Activation("tanh")(y)
    y = layers.EinsumDense("abde,def->abf", (None, 36), bias_axes="f")(y)
    y = layers.GlobalAveragePooling1D()(layers.Activation("tanh")(y))
    y = layers.Dense(36, activation="tanh")(y)
    return randomize(keras.Model(x, layers.Dense(36)(y)))


@pytest.fixture(scope="module")
def model():
    return everything()


def check_all_found(report, model):
    """Each weight in numbers has its variable, of as many values."""
    sizes = {v.path: int(np.prod(v.shape)) for v in model.weights}
    for weight in report.buffers:
        # Sizes and axes are of at most 4 integers.
        if weight.dtype != "int32" or weight.nbytes > 16:
            assert weight.variable is not None, weight
            assert sizes[weight.variable] == np.prod(weight.shape)
    assert {b.variable for b in report.buffers if b.variable} == set(sizes)
    assert {k.state for k in report.kernels} <= {"once", "dequantized"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_weight_of_a_stock_file(model, scheme):
    check_all_found(audit(convert(model, scheme), model), model)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_weight_of_our_file(model, scheme, tmp_path):
    x = values(4, 12, 12, 8)
    path = tmp_path / "model.tflite"
    export_tflite(model, path, quantization=scheme, representative_dataset=x)
    check_all_found(audit(path, model), model)


@pytest.mark.parametrize("scheme", ["int8", "int16", "int4", "dynamic", "dynamic_int4"])
def test_kernels_of_trained_schemes(scheme, tmp_path):
    inputs = keras.Input((40,))
    stack = keras_share.SharedStack(lambda: layers.Dense(40, "tanh"), "AAB")
    model = randomize(keras.Model(inputs, layers.Dense(3)(stack(inputs))))
    x = values(16, 40)
    quantized = quantize_model(model, x, quantization=scheme)
    path = tmp_path / "model.tflite"
    export_tflite(quantized, path, representative_dataset=x)
    report = audit(path, quantized)
    assert [k.uses for k in report.kernels] == [2, 1, 1]
    # Dynamic range leaves kernels of under 1,024 values in floating point, in which
    # they are rounded all the same.
    states = [k.state for k in report.kernels]
    small = "dequantized" if "dynamic" in scheme else "once"
    assert states == ["once", "once", small]


def test_a_matrix_that_is_used_in_both_directions(tmp_path):
    ids = keras.Input((5,), dtype="int32")
    table = layers.Embedding(30, 36)
    x = layers.Dense(36, activation="tanh")(table(ids))
    model = randomize(keras.Model(ids, keras_share.Transposed(table)(x)))
    rows = np.random.default_rng(0).integers(0, 30, (8, 5)).astype("int32")
    for scheme in ("float32", "int8"):
        path = tmp_path / f"{scheme}.tflite"
        export_tflite(model, path, quantization=scheme, representative_dataset=rows)
        states = {k.variable: k.state for k in audit(path, model).kernels}
        assert set(states.values()) == {"once"}


# By numbers alone.


def origins_of(stored, *candidates):
    named = [Candidate(i, np.asarray(c, "float32")) for i, c in enumerate(candidates)]
    return find_origins(model_of(([stored], [])), named).get(1, [])


def floats(kernel):
    return tensor(kernel.shape, "float32", np.ascontiguousarray(kernel))


@pytest.mark.parametrize("shape", [(6,), (4, 5), (3, 4, 5), (2, 3, 4, 5)], ids=str)
def test_every_order_of_axes_and_sign(shape):
    kernel, other = values(*shape), values(*shape, seed=1)
    for order in itertools.permutations(range(len(shape))):
        for sign in (1, -1):
            moved = sign * kernel.transpose(order)
            (origin,) = origins_of(floats(moved), other, kernel)
            assert (origin.variable, origin.folded, origin.error) == (1, False, 0)
            # Merged axes, and axes of size 1 anywhere.
            assert origins_of(floats(moved.reshape(1, -1)), kernel, other)
            assert origins_of(floats(moved), kernel[:, None], other)


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)], ids=str)
def test_folded_kernels(axis, order):
    kernel, other = values(4, 5, 6), values(4, 5, 6, seed=1)
    moved = kernel.transpose(order)
    factors = values(moved.shape[axis], seed=2)
    moved = moved * (factors[:, None, None] if axis == 0 else factors)
    (origin,) = origins_of(floats(moved), other, kernel)
    assert (origin.variable, origin.folded) == (1, True)


def test_a_vector_of_a_matrix_may_be_scaled():
    # Attention multiplies the bias of its queries.
    bias = values(4, 8)
    (origin,) = origins_of(floats(bias.reshape(-1) / 8), bias)
    assert origin.folded
    assert not origins_of(floats(values(32, seed=1)), bias)
    assert not origins_of(floats(bias.reshape(-1) / 8), bias.reshape(-1))


@pytest.mark.parametrize("axis", [0, 1])
def test_integers_are_matched_to_half_a_step(axis):
    kernel = values(30, 40)
    scale = np.abs(kernel).max(axis=1 - axis) / 127
    wide = scale[:, None] if axis == 0 else scale
    integers = np.round(kernel / wide)
    settings = {"scale": scale, "quantizedDimension": axis}
    made = tensor(kernel.shape, "int8", integers.astype("int8"), **settings)
    (origin,) = origins_of(made, values(30, 40, seed=1), kernel)
    assert origin.variable == 1
    assert 0 < origin.error <= wide.max() / 2 * 1.01
    integers[3, 4] += 1 if integers[3, 4] < 100 else -1
    off = tensor(kernel.shape, "int8", integers.astype("int8"), **settings)
    assert not [o for o in origins_of(off, kernel) if not o.folded]


def test_the_nearest_comes_first():
    kernel = values(6, 8)
    scale = np.abs(kernel).max() / 127
    integers = np.round(kernel / scale)
    made = tensor(kernel.shape, "int8", integers.astype("int8"), scale=[scale])
    found = origins_of(made, kernel, integers * scale)
    assert [origin.variable for origin in found] == [1, 0]


def test_what_matches_nothing():
    kernel = values(6, 8)
    assert not origins_of(floats(kernel), kernel[:, :7], kernel + 1e-3)
    assert not origins_of(floats(np.zeros((6, 8), "float32")), kernel)
    assert not origins_of(floats(np.full((6, 8), np.nan, "float32")), kernel)
    assert not origins_of(tensor((6, 8), "string", np.zeros(9, "uint8")), kernel)


def test_candidates_are_the_floats_and_the_rounded_kernels():
    x = keras.Input((8,))
    model = keras.Model(x, layers.Dropout(0.5)(layers.Dense(4)(x)))
    assert len(candidates_of(model)) == 2  # and no state of a random generator
    quantized = quantize_model(model, values(4, 8), quantization="int8")
    found = candidates_of(quantized)
    kernels = [c for c in found if c.values.shape == (8, 4)]
    assert len({c.variable for c in kernels}) == 1
    plain, rounded = (c.values for c in kernels)
    assert 0 < np.abs(plain - rounded).max() < np.abs(plain).max() / 250


def test_the_model_must_be_built(model):
    data = convert(model)
    for wrong in (keras.Sequential([layers.Dense(3)]), "model.keras"):
        with pytest.raises(ValueError, match="must be the built Keras model"):
            audit(data, wrong)


def test_zeros_with_a_wide_step_are_no_kernel():
    # As the converter rounds a kernel whose bias is too large beside its inputs.
    made = tensor((6, 8), "int8", np.zeros((6, 8), "int8"), scale=[1.0])
    assert not origins_of(made, values(6, 8) / 10)
    assert origins_of(made, np.zeros((6, 8), "float32"))
