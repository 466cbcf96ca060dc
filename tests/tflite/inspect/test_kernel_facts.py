import keras
import numpy as np
import pytest
from keras import layers
from random_data import randomize, values
from stock import SCHEMES, convert, model_of, operator, tensor

from keras_share import SharedStack, Transposed, export_tflite
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.inspect.audit import audit
from keras_share.tflite.inspect.kernel_facts import KernelFacts, assign
from keras_share.tflite.inspect.provenance import Origin

pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
KERNEL = 3 * 3 * 12 * 12
ITEM = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}


def normalized(sites=2):
    """One convolution beside a private normalization per site."""
    x = keras.Input((6, 6, 12), batch_size=1)
    conv = layers.Conv2D(12, 3, padding="same", name="conv")
    y = x
    for _ in range(sites):
        y = layers.ReLU()(layers.BatchNormalization()(conv(y)))
    return randomize(keras.Model(x, y))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_normalization_folds_into_copies(scheme):
    model = normalized()
    report = audit(convert(model, scheme), model)
    (kernel,) = report.kernels
    nbytes = KERNEL * ITEM[scheme]
    assert kernel == KernelFacts(
        "conv/kernel", (3, 3, 12, 12), 2, kernel.stored, nbytes, 2 * nbytes, "folded"
    )
    assert report.untied == (kernel,)
    facts = {b.index: b for b in report.buffers}
    assert [facts[i].variable for i in kernel.stored] == ["conv/kernel"] * 2
    assert [facts[i].multiple_of for i in kernel.stored] == [None, kernel.stored[0]]
    complaint = report.complaint()
    assert complaint.startswith(
        f"'conv/kernel' is stored 2 times, in {2 * nbytes:,} bytes instead of "
        f"{nbytes:,}."
    )
    for index in kernel.stored:
        assert f"buffer {index} '" in complaint
    assert "times a factor per channel" in complaint
    assert "`export_tflite`" in complaint
    # The file alone tells, too.
    alone = audit(convert(model, scheme))
    assert alone.kernels == alone.untied == ()
    assert alone.complaint() == complaint.replace("'conv/kernel'", "A kernel", 1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_our_export_keeps_the_promise(scheme, tmp_path):
    model = normalized()
    path = tmp_path / "model.tflite"
    x = values(4, 6, 6, 12)
    export_tflite(model, path, quantization=scheme, representative_dataset=x)
    report = audit(path, model)
    (kernel,) = report.kernels
    assert (kernel.state, kernel.uses if scheme != "float16" else 2) == ("once", 2)
    assert kernel.expected_bytes == kernel.stored_bytes == KERNEL * ITEM[scheme]
    assert report.complaint() is audit(path).complaint() is None


def test_folding_into_a_kernel_of_one_use_is_no_copy():
    model = normalized(sites=1)
    report = audit(convert(model), model)
    assert [k.state for k in report.kernels] == ["once"]
    assert report.complaint() is None
    assert [b.variable for b in report.buffers if b.nbytes > 100] == ["conv/kernel"]


def dense(sites=3, units=40):
    x = keras.Input((units,), batch_size=1)
    layer = layers.Dense(units, "tanh", use_bias=False, name="dense")
    y = x
    for _ in range(sites):
        y = layer(y)
    return randomize(keras.Model(x, y))


def duplicate(data):
    """Gives each operator a kernel of its own."""
    model = flatbuffer.read(data)
    graph = model.subgraphs[0]
    products = [op for op in graph.operators if len(op.inputs) > 1]
    for op in products[1:]:
        made = tensor((1,))
        vars(made).update(vars(graph.tensors[op.inputs[1]]))
        model.buffers.append(model.buffers[made.buffer])
        made.buffer = len(model.buffers) - 1
        graph.tensors.append(made)
        op.inputs = [op.inputs[0], len(graph.tensors) - 1, -1]
    return flatbuffer.pack(model)


@pytest.mark.parametrize("scheme", ["float32", "dynamic"])
def test_copies_by_content(scheme):
    model = dense()
    data = convert(model, scheme)
    assert [k.state for k in audit(data, model).kernels] == ["once"]
    report = audit(duplicate(data), model)
    (kernel,) = report.untied
    nbytes = 1600 * ITEM[scheme]
    assert (kernel.state, len(kernel.stored), kernel.uses) == ("copied", 3, 3)
    assert (kernel.expected_bytes, kernel.stored_bytes) == (nbytes, 3 * nbytes)
    assert "with equal bytes, which `dedupe` stores once" in report.complaint()
    assert audit(duplicate(data)).complaint().startswith("A kernel is stored 3 times")


def test_a_copy_in_another_form():
    # In integers the converter rounds a table for its look-ups and for its head.
    ids = keras.Input((5,), dtype="int32", batch_size=1)
    table = layers.Embedding(30, 36)
    x = layers.Dense(36, activation="tanh")(table(ids))
    model = randomize(keras.Model(ids, Transposed(table)(x)))
    assert {k.state for k in audit(convert(model), model).kernels} == {"once"}
    report = audit(convert(model, "dynamic"), model)
    (kernel,) = report.untied
    assert (kernel.state, kernel.shape, len(kernel.stored)) == ("copied", (30, 36), 2)
    assert "in different forms" in report.complaint()


def test_many_copies_are_named_in_part():
    report = audit(convert(model := normalized(sites=5)), model)
    assert "is stored 5 times" in report.complaint()
    assert report.complaint().count("buffer ") == 3
    assert " and 2 more, times a factor" in report.complaint()


def test_small_kernels_stay_floats_in_dynamic_range():
    x = keras.Input((40,), batch_size=1)
    y = layers.Dense(4)(layers.Dense(40, activation="tanh")(x))
    model = randomize(keras.Model(x, y))
    report = audit(convert(model, "dynamic"), model)
    assert [k.state for k in report.kernels] == ["once", "dequantized"]
    assert report.complaint() is None
    for scheme in ("float32", "float16", "int8"):
        kernels = audit(convert(model, scheme), model).kernels
        assert {k.state for k in kernels} == {"once"}


def test_integers_that_are_made_floats():
    kernel = values(8, 8)
    scale = np.abs(kernel).max() / 127
    integers = np.round(kernel / scale).astype("int8")
    tensors = [tensor((1, 8)), tensor((8, 8), "int8", integers, scale=[scale])]
    tensors += [tensor((8, 8)), tensor((1, 8))]
    ops = [operator("DEQUANTIZE", [1], [2])]
    ops += [operator("FULLY_CONNECTED", [0, 2, -1], [3])]
    model = keras.Sequential([keras.Input((8,)), layers.Dense(8, use_bias=False)])
    model.set_weights([kernel.T])
    data = flatbuffer.pack(model_of((tensors, ops)))
    assert [k.state for k in audit(data, model).kernels] == ["dequantized"]


def test_missing_kernels():
    model, other = dense(), dense()
    other.set_weights([values(40, 40, seed=5)])
    (kernel,) = audit(convert(model), other).kernels
    nbytes = 4 * 40 * 40
    assert kernel == KernelFacts("dense/kernel", (40, 40), 0, (), nbytes, 0, "missing")


def test_equal_variables_are_no_copies():
    # Both kernels, and both of zeros, are one constant of the file.
    x = keras.Input((12,), batch_size=1)
    parts = [layers.Dense(12, "tanh", kernel_initializer="zeros") for _ in range(2)]
    parts += [layers.Dense(12, "tanh") for _ in range(2)]
    y = x
    for part in parts:
        y = part(y)
    model = keras.Model(x, y)
    parts[3].set_weights(parts[2].get_weights())
    for scheme in SCHEMES:
        report = audit(convert(model, scheme), model)
        assert {k.state for k in report.kernels} == {"once"}


def test_biases_of_attention_are_no_kernels_in_integers(tmp_path):
    x = keras.Input((5, 12))
    attention = layers.MultiHeadAttention(2, 6)
    model = randomize(keras.Model(x, attention(attention(x, x), attention(x, x))))
    path = tmp_path / "model.tflite"
    export_tflite(
        model, path, quantization="int8", representative_dataset=values(4, 5, 12)
    )
    report = audit(path, model)
    assert {k.variable.split("/")[-1] for k in report.kernels} == {"kernel"}
    assert report.untied == ()


@pytest.mark.parametrize("pattern", ["AAA", "ABA", "AAB"])
def test_patterns(pattern, tmp_path):
    x = keras.Input((12,))
    stack = SharedStack(lambda: layers.Dense(12, "tanh"), pattern)
    model = randomize(keras.Model(x, stack(x)))
    path = tmp_path / "model.tflite"
    export_tflite(model, path)
    kernels = audit(path, model).kernels
    assert [k.uses for k in kernels] == [pattern.count(g) for g in sorted(set(pattern))]
    assert {k.state for k in kernels} == {"once"}


def test_assign_spreads_equal_variables():
    def origin(variable, error=0.0):
        return Origin(variable, False, error)

    twins = [origin(0), origin(1)]
    chosen = assign({3: twins, 4: twins, 5: twins, 6: [origin(2), origin(0, 0.1)]})
    assert [o.variable for o in chosen.values()] == [0, 1, 0, 2]
