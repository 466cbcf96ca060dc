"""What is left in floating point is so in the file, and what is not isn't."""

import warnings

import keras
import numpy as np
import pytest
from file_against_model import check_steps, compare
from keras import layers, ops
from random_data import randomize, values
from stock import model_of, operator, tensor

from keras_share import Transposed, export_tflite, predict_tflite, quantize_model
from keras_share.export.float_parts import keep_float
from keras_share.quantize import quantization_report
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.stored import read_stored


class Twice(keras.layers.Layer):
    """A layer of one's own that can't be opened, with a function of a fixed range."""

    def build(self, shape):
        self.gain = self.add_weight(shape=shape[-1:], initializer="ones")

    def call(self, x):
        return ops.tanh(ops.tanh(ops.softmax(x * self.gain)) * 2.0)


SKIPPED = {
    "softmax": lambda x, y: layers.Softmax(name="softmax")(x),
    "tanh": lambda x, y: layers.Activation("tanh", name="tanh")(x),
    "relu": lambda x, y: layers.ReLU(name="relu")(layers.Dense(4)(x)),
    "add": lambda x, y: layers.Add(name="add")([x, y]),
    "multiply": lambda x, y: layers.Multiply(name="multiply")([x, y]),
    "concatenate": lambda x, y: layers.Concatenate(name="concatenate")([x, y]),
    "pool": lambda x, y: layers.AveragePooling2D(2, name="pool")(x),
    "norm": lambda x, y: layers.BatchNormalization(name="norm")(layers.Conv2D(4, 1)(x)),
    "prelu": lambda x, y: layers.PReLU(name="prelu")(x),
    "kernel": lambda x, y: layers.Dense(4, "sigmoid", name="kernel")(x),
    "twice": lambda x, y: Twice(name="twice")(x),
    "elu": lambda x, y: layers.ELU(name="elu")(ops.exp(x)),
    "gelu": lambda x, y: keras.Sequential(
        [layers.Activation("gelu"), layers.ReLU()], name="gelu"
    )(x),
}


@pytest.fixture(scope="module")
def skipped(tmp_path_factory):
    """Each of `SKIPPED` between two layers of integers, with inputs of its own."""
    path = tmp_path_factory.mktemp("skipped") / "model.tflite"
    inputs, outputs = [], []
    for name, make in SKIPPED.items():
        inputs.append(keras.Input((4, 4, 3), name=f"x_{name}"))
        x, y = (layers.Conv2D(4, 1)(inputs[-1]) for _ in range(2))
        outputs.append(layers.Dense(3, name=f"end_{name}")(make(x, y)))
    inputs.append(keras.Input((4, 4, 3), name="x_last"))
    last = layers.Softmax(name="last")(layers.Dense(3)(inputs[-1]))
    model = randomize(keras.Model(inputs, [*outputs, last]))
    x = [values(32, 4, 4, 3, seed=i) for i in range(len(inputs))]
    chosen = {"skip": [*SKIPPED, "last"]}
    rows = quantization_report(model, **chosen).float_layers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        quantized = quantize_model(model, x, **chosen)
    report = export_tflite(quantized, path, representative_dataset=x)
    return quantized, path.read_bytes(), report, x, rows


def test_float_operators_are_those_of_what_is_left_out(skipped):
    _, _, report, _, rows = skipped
    assert {row.name.split(".")[0] for row in rows} == {*SKIPPED, "last"}
    assert report.float_operators == {
        **{"SOFTMAX": 3, "TANH": 3, "MUL": 2, "RELU": 2, "ADD": 1, "CONCATENATION": 1},
        **{"AVERAGE_POOL_2D": 1, "DEPTHWISE_CONV_2D": 2, "PRELU": 1, "ELU": 1},
        **{"FULLY_CONNECTED": 1, "LOGISTIC": 1, "GELU": 1},
    }
    kinds = {op.name for op in report.operators}
    assert not any(name.startswith("CUSTOM") for name in kinds)


def test_the_file_is_the_model_that_simulates_it(skipped):
    quantized, data, _, x, _ = skipped
    check_steps(compare(quantized, data, x))
    names = [tensor.name for tensor in quantized.inputs]
    last = predict_tflite(data, dict(zip(names, x, strict=True)))["last"]
    assert np.abs(last - quantized(x)[-1]).max() < 0.02


def test_activations_behind_what_fuses_none(tmp_path):
    """And behind products that others read: the converter doesn't compute them anew."""
    x = inputs = keras.Input((4, 6, 4))
    product = layers.Dense(5, use_bias=False, name="product")
    back = Transposed(product, use_bias=False, name="back")(ops.relu(product(x)))
    read = layers.Dense(4)(x)
    other = layers.Dense(4)(x)
    outputs = [
        layers.Dense(3)(ops.relu(back)),
        layers.Dense(3)(ops.relu(layers.PReLU()(layers.Dense(4)(x)))),
        layers.Dense(3)(layers.PReLU()(read)) + layers.Dense(3)(ops.relu(read)),
        layers.Dense(3)(ops.abs(other)) + layers.Dense(3)(ops.relu(other)),
    ]
    model, x = randomize(keras.Model(inputs, outputs)), values(48, 4, 6, 4)
    quantized = quantize_model(model, x, strict=True)
    path = tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators
    check_steps(compare(quantized, path.read_bytes(), [x]))


def masked_mean():
    seq, valid = keras.Input((600, 4), name="seq"), keras.Input((600,), name="valid")
    h = layers.Conv1D(8, 3, padding="same", activation="relu")(seq)
    total = ops.sum(h * ops.expand_dims(valid, -1), axis=1)
    mean = total / ops.sum(valid, axis=1, keepdims=True)
    return keras.Model([seq, valid], layers.Dense(3)(mean))


def test_a_mean_over_few_of_many_steps(tmp_path):
    lengths = np.r_[np.full(16, 600), np.full(16, 1)]
    x = values(32, 600, 4)
    valid = (np.arange(600) < lengths[:, None]).astype("float32")
    model, path = masked_mean(), tmp_path / "m.tflite"
    with pytest.warns(UserWarning, match="'sum'.*'true_divide' reads it"):
        quantized = quantize_model(model, [x, valid])
    report = export_tflite(quantized, path, representative_dataset=[x, valid])
    assert report.float_operators == {"DIV": 1, "SUM": 2}
    found = predict_tflite(path, [x, valid])
    assert np.abs(found - quantized([x, valid])).max() < 0.02
    # One step of 600, of which integers would make none.
    right = model([x, valid])
    assert np.abs(found - right)[16:].max() < 0.1 * np.abs(right).max()


@pytest.mark.parametrize("scheme", ["int16", "int4"])
def test_other_schemes(scheme, tmp_path):
    x = values(32, 4, 4, 3)
    inputs = keras.Input((4, 4, 3))
    y = layers.Conv2D(4, 3, activation="relu")(inputs)
    y = layers.Add(name="sum")([y, layers.Dense(4, name="kernel")(y)])
    y = layers.Conv2DTranspose(4, 2, name="up")(y)
    model = randomize(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(y))))
    skip = ["sum", "kernel", "up"]
    quantized = quantize_model(model, x, quantization=scheme, skip=skip)
    path = tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    kinds = {"ADD": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}
    assert report.float_operators == kinds
    [found] = compare(quantized, path.read_bytes(), [x])
    assert found.steps.max() < (16 if scheme == "int16" else 2.01)


@pytest.mark.parametrize("scheme", ["dynamic", "dynamic_int4"])
def test_kernels_left_out_of_dynamic_range(scheme, tmp_path):
    inputs, x = keras.Input((8, 8, 16)), values(8, 8, 8, 16)
    y = layers.Conv2D(32, 3, name="skipped")(layers.Conv2D(16, 3, name="first")(inputs))
    y = layers.Conv2DTranspose(8, 3, name="up")(y)
    y = layers.Dense(40, name="left")(layers.Dense(64)(layers.Flatten()(y)))
    model = randomize(keras.Model(inputs, y))
    chosen = {"quantization": scheme, "skip": ["skipped", "up", "left"]}
    quantized = quantize_model(model, **chosen)
    path = tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    dtypes = {row.name: row.dtype for row in quantization_report(model, **chosen).rows}
    bits = "int8" if scheme == "dynamic" else "int4"
    assert dtypes["skipped"] == dtypes["up"] == dtypes["left"] == "float32"
    assert dtypes["first"] == f"{bits} weights"
    stored = {b.variable: b.dtype for b in report.buffers if b.nbytes > 1000}
    assert {stored[f"{x}/kernel"] for x in ("skipped", "up", "left")} == {"float32"}
    assert sorted(stored.values()) == ["float32"] * 3 + [bits] * 2


def test_a_softmax_over_many_places(tmp_path):
    inputs, x = keras.Input((16,)), values(16, 16)
    model = keras.Model(inputs, layers.Softmax()(layers.Dense(1000)(inputs)))
    with pytest.warns(UserWarning, match="over more than 256 places"):
        quantized = quantize_model(model, x)
    path = tmp_path / "m.tflite"
    export_tflite(quantized, path, representative_dataset=x)
    # All of them would be zero in 8 bits.
    assert np.abs(predict_tflite(path, x) / model(x) - 1).max() < 0.05


def test_a_loop_in_floating_point_is_so_inside(tmp_path):
    inputs, x = keras.Input((6, 4)), values(16, 6, 4)
    y = layers.GRU(4, name="gru")(layers.Dense(4)(inputs))
    model = randomize(keras.Model(inputs, layers.Dense(3)(y)))
    quantized = quantize_model(model, x, skip=["gru"])
    path = tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    assert {op.dtype for op in report.operators if op.name == "TANH"} == {"float32"}
    [found] = compare(quantized, path.read_bytes(), [x])
    assert found.steps.max() < 2.01


def test_ranges_that_meet_are_changed_where_they_do(tmp_path):
    inputs, x = keras.Input((4, 4, 3)), values(32, 4, 4, 3) * 4
    y = layers.UpSampling2D(2)(layers.Dense(4)(inputs))
    y = layers.Concatenate()([layers.Softmax()(layers.UpSampling2D(2)(inputs)), y])
    model = randomize(keras.Model(inputs, layers.Dense(3)(y)))
    quantized, path = quantize_model(model, x), tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators
    [found] = compare(quantized, path.read_bytes(), [x])
    assert found.steps.max() < 2.01


@pytest.mark.parametrize("call", [ops.add, ops.subtract, ops.multiply])
def test_one_tensor_twice(call, tmp_path):
    # The converter sees through what undoes itself.
    inputs, x = keras.Input((4, 6, 4)), values(32, 4, 6, 4)
    y = layers.Dense(4)(inputs)
    y = call(ops.transpose(ops.transpose(y, (0, 3, 2, 1)), (0, 3, 2, 1)), y)
    model = randomize(keras.Model(inputs, layers.Dense(3)(y)))
    quantized, path = quantize_model(model, x), tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators
    assert not [op for op in report.operators if op.name == "QUANTIZE"][1:]
    [found] = compare(quantized, path.read_bytes(), [x])
    assert found.steps.max() < 2.01


def test_rows_of_a_table_times_themselves(tmp_path):
    """What is looked up has no rounding of its own, that a factor could go behind."""
    x = keras.Input((6,), dtype="int32")
    y = layers.Embedding(9, 4)(x)
    model = randomize(keras.Model(x, layers.Dense(3)(y * y)))
    ids = np.random.default_rng(0).integers(0, 9, (32, 6), "int32")
    quantized, path = quantize_model(model, ids, strict=True), tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=ids)
    assert not report.float_operators
    [found] = compare(quantized, path.read_bytes(), [ids])
    assert found.steps.max() < 2.01


def test_a_table_that_floats_and_integers_read(tmp_path):
    inputs = [keras.Input((n,), dtype="int32", name=f"x{n}") for n in (6, 5)]
    table = layers.Embedding(9, 4)
    left, right = map(table, inputs)
    left = layers.Dense(3, name="left")(layers.Flatten()(left))
    right = layers.Dense(3, name="right")(layers.Flatten()(right))
    model = randomize(keras.Model(inputs, [left, right]))
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 9, (32, n), "int32") for n in (6, 5)]
    quantized, path = quantize_model(model, ids, skip=["left"]), tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=ids)
    assert set(report.float_operators) == {"FULLY_CONNECTED"}
    assert [op.dtype for op in report.operators if op.name == "GATHER"] == ["int8"]
    for found in compare(quantized, path.read_bytes(), ids):
        assert found.steps.max() < 2.01


def test_a_clip_behind_what_is_left_out(tmp_path):
    inputs, x = keras.Input((4, 4)), values(32, 4, 4)
    y = layers.Dense(4, "relu", name="left")(layers.Dense(4)(inputs))
    model = randomize(keras.Model(inputs, layers.Dense(3)(ops.relu6(y))))
    quantized = quantize_model(model, x, skip=["left"])
    report = export_tflite(quantized, tmp_path / "m.tflite", representative_dataset=x)
    assert set(report.float_operators) == {"FULLY_CONNECTED"}


MASKS = {
    "add": lambda scores, mask: scores + (1 - mask) * -1e9,
    "array": lambda scores, mask: scores - (1 - mask) * np.full((1, 6), 1e6, "float32"),
}


@pytest.mark.parametrize(
    "name, scheme",
    [*((name, "int8") for name in MASKS), ("add", "int16")],
)
def test_scores_under_large_numbers(name, scheme, tmp_path):
    scores, mask = keras.Input((6,), name="x"), keras.Input((6,), name="mask")
    masked = MASKS[name](layers.Dense(6, name="scored")(scores), mask)
    model = randomize(keras.Model([scores, mask], layers.Dense(3)(ops.softmax(masked))))
    rows = np.arange(6) < np.random.default_rng(0).integers(1, 7, (64, 1))
    x = [values(64, 6), rows.astype("float32")]
    with pytest.warns(UserWarning, match="large numbers mask what it reads"):
        quantized = quantize_model(model, x, quantization=scheme)
    expected = np.asarray(model(x))
    off = np.asarray(quantized(x)) - expected
    assert np.abs(off).max() < np.ptp(expected) / 20
    path = tmp_path / "m.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    assert {op.dtype for op in report.operators if op.name == "SOFTMAX"} == {"float32"}
    products = [op for op in report.operators if op.name == "FULLY_CONNECTED"]
    assert {op.dtype for op in products} == {scheme}


@pytest.mark.parametrize("scheme", ["int8", "int16"])
@pytest.mark.parametrize("read", [1, 2])
def test_parts_of_a_split_that_nothing_reads(read, scheme, tmp_path):
    inputs, x = keras.Input((6, 8)), values(16, 6, 8)
    parts = ops.split(layers.Dense(9)(inputs), 3, axis=-1)[:read]
    outputs = parts[0] if read == 1 else layers.Dense(3)(parts[0] + parts[1])
    quantized = quantize_model(keras.Model(inputs, outputs), x, quantization=scheme)
    report = export_tflite(quantized, tmp_path / "m.tflite", representative_dataset=x)
    assert not report.float_operators


def test_long_ways_of_scores_are_walked_once():
    x = keras.Input((4,))
    y = x
    for _ in range(60):
        y = y + y
    model = keras.Model(x, ops.softmax(y))
    assert not quantization_report(model).float_layers


def integers(shape, scale=0.1):
    return tensor(shape, "int8", scale=np.float32([scale]), zeroPoint=np.int64([0]))


def test_floats_among_integers_are_refused():
    tensors = [integers([1, 4]), tensor([1, 4]), tensor([1, 4]), integers([1, 4])]
    tensors[2].name = b"model/part/Relu"
    names = ("DEQUANTIZE", "RELU", "QUANTIZE")
    steps = [operator(name, [i], [i + 1]) for i, name in enumerate(names)]
    with pytest.raises(ValueError, match="RELU of 'model/part/Relu' with floating"):
        keep_float(model_of((tensors, steps)))


@pytest.mark.parametrize("value", [0, 1])
def test_integers_that_are_stored_are_refused_in_floats(value):
    """But for zeros, of which rounding lost nothing."""
    stored = integers([1, 4])
    stored.content = np.full([1, 4], value, "int8")
    tensors = [tensor([1, 4]), tensor([1, 4]), integers([1, 4]), stored]
    tensors += [integers([1, 4])]
    steps = [
        operator("CUSTOM", [0], [1]),
        operator("QUANTIZE", [1], [2]),
        operator("ADD", [2, 3], [4]),
    ]
    model = model_of((tensors, steps))
    model.operatorCodes[steps[0].opcodeIndex].customCode = b"EnterFloat:part"
    if value:
        with pytest.raises(ValueError, match=r"in floating point what.*ADD of"):
            keep_float(model)
        return
    keep_float(model)
    [graph] = model.subgraphs
    [add] = graph.operators
    assert {flatbuffer.dtype_name(graph.tensors[i].type) for i in add.inputs} == {
        "float32"
    }
    assert not read_stored(model, graph.tensors[add.inputs[1]]).values.any()
