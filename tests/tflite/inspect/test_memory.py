import keras
import numpy as np
import pytest
from keras import layers
from stock import call_of_first, convert, model_of, operator, tensor

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.inspect.memory import MemoryEstimate, estimate_memory

WIDTH = 40

pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")


def tied(scheme="float32", sites=5):
    x = keras.Input((WIDTH,), batch_size=1)
    dense = layers.Dense(WIDTH, "relu", use_bias=False)
    y = x
    for _ in range(sites):
        y = dense(y)
    return convert(keras.Model(x, y), scheme)


def memory_of(data):
    return estimate_memory(flatbuffer.read(data), len(data))


def arena(tensors, *operators):
    return estimate_memory(model_of((tensors, operators)), 0).arena_bytes


@pytest.mark.parametrize(
    "scheme, item", [("float32", 4), ("float16", 4), ("dynamic", 1), ("int8", 1)]
)
def test_one_packed_copy_for_each_use(scheme, item):
    data = tied(scheme)
    memory = memory_of(data)
    kernel = item * WIDTH**2
    assert memory.file_bytes == len(data)
    assert memory.packed_bytes == 5 * kernel
    assert memory.packed_once_bytes == kernel
    assert memory.total_bytes - memory.rolled_bytes == 4 * kernel
    assert memory.total_bytes == len(data) + 5 * kernel + memory.arena_bytes


def test_a_body_that_is_called_packs_once():
    memory = memory_of(call_of_first(tied()))
    assert memory.packed_bytes == memory.packed_once_bytes == 4 * WIDTH**2
    # Two vectors are alive in the body, and two in the graph that calls it.
    assert memory.arena_bytes == 2 * 2 * 4 * WIDTH


def test_equal_kernels_are_packed_once_at_best():
    kernel = np.ones((4, 8), "float32")
    tensors = [tensor((1, 8)), *(tensor((4, 8), content=kernel) for _ in range(2))]
    tensors += [tensor((1, 4)), tensor((1, 4))]
    uses = [operator("FULLY_CONNECTED", [0, i, -1], [i + 2]) for i in (1, 2)]
    memory = estimate_memory(model_of((tensors, uses)), 0)
    assert (memory.packed_bytes, memory.packed_once_bytes) == (256, 128)


def test_int4_kernels_take_half_a_byte():
    kernel = tensor((4, 8), "int4", np.ones(16, "uint8"))
    op = operator("FULLY_CONNECTED", [0, 1, -1], [2])
    model = model_of(([tensor((1, 8)), kernel, tensor((1, 4))], [op]))
    assert estimate_memory(model, 0).packed_bytes == 16


def test_only_kernels_are_packed():
    table = tensor((10, 8), content=np.ones((10, 8), "float32"))
    op = operator("GATHER", [1, 0], [2])
    model = model_of(([tensor((3,), "int32"), table, tensor((3, 8))], [op]))
    assert estimate_memory(model, 0).packed_bytes == 0
    # A product of two activations has no kernel.
    tensors = [tensor((1, 8, 8)), tensor((1, 8, 8)), tensor((1, 8, 8))]
    product = model_of((tensors, [operator("BATCH_MATMUL", [0, 1], [2])]))
    assert estimate_memory(product, 0).packed_bytes == 0


def test_activations_that_are_alive_at_once():
    def chain(*sizes):
        tensors = [tensor((n,)) for n in sizes]
        ops = [operator("RELU", [i], [i + 1]) for i in range(len(sizes) - 1)]
        return arena(tensors, *ops)

    assert chain(1, 1, 1, 1) == 2 * 4
    assert chain(1, 10, 20, 1, 5) == 30 * 4
    assert chain(7) == 7 * 4


def test_a_skip_connection_stays_alive():
    tensors = [tensor((n,)) for n in (3, 5, 7, 11)]
    skip = operator("RELU", [0], [1]), operator("RELU", [1], [2])
    # The first tensor is alive until the sum of all.
    assert arena(tensors, *skip, operator("ADD", [0, 2], [3])) == 4 * (3 + 7 + 11)
    # An output is alive until the end.
    assert arena(tensors[:3], operator("RELU", [0], [1])) == 4 * (3 + 5 + 7)


def test_state_is_always_alive():
    state = tensor((100,))
    state.isVariable = True
    tensors = [tensor((1,)), tensor((1,)), state, tensor((1,))]
    ops = [operator("RELU", [0], [1]), operator("ADD", [1, 2], [3])]
    assert arena(tensors, *ops, operator("RELU", [3], [0])) >= 4 * 100


def test_text_takes_no_bytes_and_nothing_is_fine():
    assert arena([tensor((5,), "string")]) == 0
    assert estimate_memory(model_of(), 9) == MemoryEstimate(9, 0, 0, 0)
