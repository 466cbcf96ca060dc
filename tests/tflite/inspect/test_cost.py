import keras
import numpy as np
import pytest
from keras import layers
from stock import convert, model_of, operator, tensor

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.inspect.cost import OperatorCost, operator_costs

pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")


def costs(model, scheme="float32"):
    return operator_costs(flatbuffer.read(convert(model, scheme)))


def cost_of(name, inputs, output, **options):
    """The cost of an operator; shapes in lists are weights."""
    tensors = [
        tensor(s, content=np.ones(s, "float32") if isinstance(s, list) else None)
        for s in (*inputs, output)
    ]
    count = len(inputs)
    op = operator(name, list(range(count)), [count], **options)
    (cost,) = operator_costs(model_of((tensors, [op])))
    return cost


# What each operator multiplies, counted by hand.
@pytest.mark.parametrize(
    "name, inputs, output, macs",
    [
        ("FULLY_CONNECTED", [(5, 8), [3, 8]], (5, 3), 5 * 8 * 3),
        ("CONV_2D", [(1, 9, 9, 4), [6, 3, 3, 4]], (1, 7, 7, 6), 49 * 6 * 9 * 4),
        ("CONV_2D", [(1, 9, 9, 4), [6, 3, 3, 2]], (1, 7, 7, 6), 49 * 6 * 9 * 2),
        ("DEPTHWISE_CONV_2D", [(1, 9, 9, 4), [1, 3, 5, 8]], (1, 7, 5, 8), 280 * 15),
        ("TRANSPOSE_CONV", [[4], [6, 3, 3, 4], (1, 5, 5, 4)], (1, 7, 7, 6), 100 * 54),
        ("CONV_3D", [(1, 4, 4, 4, 2), [3, 3, 3, 2, 5]], (1, 2, 2, 2, 5), 40 * 54),
        (
            "CONV_3D_TRANSPOSE",
            [[5], [3, 3, 3, 5, 2], (1, 2, 2, 2, 2)],
            (1, 4, 4, 4, 5),
            16 * 135,
        ),
        ("BATCH_MATMUL", [(2, 7, 4), (2, 4, 5)], (2, 7, 5), 2 * 7 * 4 * 5),
        ("BATCH_MATMUL", [(2, 7, 4), [1, 4, 5]], (2, 7, 5), 2 * 7 * 4 * 5),
        ("SVDF", [(3, 8), [10, 8], [10, 4], [10]], (3, 10), 3 * (80 + 40)),
        ("UNIDIRECTIONAL_SEQUENCE_RNN", [(2, 6, 8), [5, 8], [5, 5], [5], (2, 5)],
         (2, 6, 5), 12 * (40 + 25)),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", [(2, 6, 8), *[[5, 8]] * 4, *[[5, 5]] * 4],
         (2, 6, 5), 12 * 4 * (40 + 25)),
        ("ADD", [(5, 8), (5, 8)], (5, 8), 0),
        ("GATHER", [[100, 8], (5,)], (5, 8), 0),
        ("SOFTMAX", [(5, 8)], (5, 8), 0),
    ],
)  # fmt: skip
def test_macs(name, inputs, output, macs):
    cost = cost_of(name, inputs, output)
    assert (cost.name, cost.macs, cost.calls, cost.subgraph) == (name, macs, 1, 0)
    stored = sum(4 * int(np.prod(s)) for s in inputs if isinstance(s, list))
    passing = sum(4 * int(np.prod(s)) for s in inputs if isinstance(s, tuple))
    assert cost.weight_bytes == stored
    assert cost.activation_bytes == passing + 4 * int(np.prod(output))


def test_transposed_products():
    adjoint = {"BatchMatMulOptions": {"adjX": True}}
    cost = cost_of("BATCH_MATMUL", [(2, 4, 7), (2, 4, 5)], (2, 7, 5), **adjoint)
    assert cost.macs == 2 * 7 * 4 * 5


def test_damaged_operators_cost_nothing():
    for name in ("FULLY_CONNECTED", "CONV_2D", "TRANSPOSE_CONV", "BATCH_MATMUL"):
        model = model_of(([tensor((1,))], [operator(name, [-1], [])]))
        (cost,) = operator_costs(model)
        assert (cost.macs, cost.types, cost.dtype) == (0, "- -> -", "-")


def test_converted_model():
    x = keras.Input((8, 8, 4), batch_size=1)
    y = layers.Conv2D(6, 3, activation="relu")(x)
    y = layers.DepthwiseConv2D(3, activation="tanh")(y)
    y = layers.Conv2DTranspose(5, 2, strides=2, use_bias=False)(y)
    y = layers.Dense(7)(layers.Flatten()(y))
    found = {c.name: c for c in costs(keras.Model(x, y))}
    assert {name: c.macs for name, c in found.items() if c.macs} == {
        "CONV_2D": 36 * 6 * 9 * 4,
        "DEPTHWISE_CONV_2D": 16 * 6 * 9,
        "TRANSPOSE_CONV": 16 * 6 * 4 * 5,
        "FULLY_CONNECTED": 64 * 5 * 7,
    }
    conv = found["CONV_2D"]
    assert conv.weight_bytes == 4 * (6 * 9 * 4 + 6)
    assert conv.activation_bytes == 4 * (64 * 4 + 36 * 6)
    assert conv.types == "float32 -> float32"


@pytest.mark.parametrize(
    "scheme, types, weight_bytes",
    [
        ("float16", "float32 -> float32", 2 * (40 * 48 + 48)),
        ("dynamic", "float32, int8 -> float32", 40 * 48 + 4 * 48),
        ("int8", "int8, int32 -> int8", 40 * 48 + 4 * 48),
    ],
)
def test_quantized_products(scheme, types, weight_bytes):
    x = keras.Input((40,), batch_size=1)
    model = keras.Model(x, layers.Dense(48, bias_initializer="ones")(x))
    found = {c.name: c for c in costs(model, scheme)}
    cost = found["FULLY_CONNECTED"]
    assert isinstance(cost, OperatorCost)
    assert (cost.macs, cost.types) == (40 * 48, types)
    assert cost.weight_bytes == weight_bytes
    assert cost.activation_bytes == (40 + 48) * (1 if scheme == "int8" else 4)
    if scheme == "float16":
        # What it makes of weights is no activation.
        assert found["DEQUANTIZE"].activation_bytes == 0
