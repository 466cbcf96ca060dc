"""`store_int4`: store kernels that were rounded to 4 bits as the integers they are."""

import copy
from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.kernel_places import KERNEL_OPERATORS, NO_KERNEL

# Scale of an integer in 4 bits to one in 8, both symmetric and narrow.
_RATIO = 127 / 7
# The types of activations for which LiteRT runs kernels of type INT4. With others it
# refuses the file or, for depthwise convolutions in int16, returns wrong numbers.
RUNS = {
    "CONV_2D": ("float32", "int8", "int16"),
    "DEPTHWISE_CONV_2D": ("int8",),
    "FULLY_CONNECTED": ("float32", "int8", "int16"),
}
_INTEGERS = {schema.TensorType.INT32: np.int32, schema.TensorType.INT64: np.int64}


def store_int4(model: schema.ModelT, packed: Collection[str] = tuple(RUNS)) -> None:
    """Stores the 4-bit kernels of a parsed model as their integers, two in a byte.

    A kernel that was rounded to 4 bits in training has values `k * scale`, with k from
    -7 to 7. The converter knows only int8: it stores `round(k * 127 / 7)` at 7 / 127
    of the scale, which is near to `k * scale`, but not the same. Here such kernels get
    k and their own scale and, where LiteRT runs it, the type INT4, which takes half
    the bytes: in convolutions and products with int8 activations and, if they are not
    depthwise, with float32 and int16 ones. Elsewhere k is stored as int8. Integer
    biases, whose scale is the kernel's times the input's, are rounded anew.

    Kernels are told by their values: all on the 15 levels, and not all zero or
    extreme, which int8 stores exactly. A kernel that was rounded to 8 bits is there by
    chance in one of 17 ** n cases, n being its values without one extreme per channel;
    they would change by less than half a step. A buffer that also serves as something
    else than a kernel, such as a table to look up, is left as it is.

    Args:
        model: The model, in which each kernel has one buffer for all its uses: they
            get one type.
        packed: Names of the operators whose kernels may become INT4; by default all
            that LiteRT runs. TFLite Micro runs `("CONV_2D", "DEPTHWISE_CONV_2D")`
            with int8 activations, and none with int16 ones.
    """
    uses = _uses(model)
    kernels = {
        index: tensors
        for index, tensors in flatbuffer.weights(model).items()
        if all(use.is_kernel for use in uses[index])
        and all(_is_symmetric_int8(tensor) for tensor in tensors)
        and _has_4_bits(_values(model, index, np.int8))
    }
    _restate_biases(model, kernels)
    for index, tensors in kernels.items():
        levels = _levels(_values(model, index, np.int8)).astype(np.int8)
        pack = all(use.runs_int4 and use.name in packed for use in uses[index])
        model.buffers[index] = _buffer(_packed(levels) if pack else levels)
        for tensor in tensors:
            _rescale(tensor)
            if pack:
                tensor.type = schema.TensorType.INT4


class _Use(NamedTuple):
    """What an operator does with a tensor."""

    name: str  # of the operator
    place: int  # among its inputs
    activations: str  # type of its first input

    @property
    def is_kernel(self) -> bool:
        return self.place == KERNEL_OPERATORS.get(self.name, NO_KERNEL).kernel

    @property
    def runs_int4(self) -> bool:
        return self.activations in RUNS.get(self.name, ())


def _uses(model: schema.ModelT) -> dict[int, set[_Use]]:
    """How each buffer is used, by its number."""
    uses: dict[int, set[_Use]] = defaultdict(set)
    for graph in model.subgraphs:
        for op in graph.operators:
            name = flatbuffer.operator_name(model, op)
            types = [graph.tensors[index].type for index in op.inputs if index >= 0]
            for place, index in enumerate(op.inputs):
                if index >= 0:
                    use = _Use(name, place, flatbuffer.dtype_name(types[0]))
                    uses[graph.tensors[index].buffer].add(use)
        for index in graph.outputs:
            uses[graph.tensors[index].buffer].add(_Use("", 0, ""))
    return uses


def _is_symmetric_int8(tensor: schema.TensorT) -> bool:
    quantization = tensor.quantization
    return (
        tensor.type == schema.TensorType.INT8
        and quantization is not None
        and quantization.scale is not None
        and not np.any(quantization.zeroPoint)
    )


def _has_4_bits(values: np.ndarray) -> bool:
    on_levels = np.array_equal(np.round(_levels(values) * _RATIO), values)
    return on_levels and not np.isin(values, (-127, 0, 127)).all()


def _levels(values: np.ndarray) -> np.ndarray:
    return np.round(values.astype("float64") / _RATIO)


def _restate_biases(model: schema.ModelT, kernels: Collection[int]) -> None:
    """Rounds the biases beside these kernels to integers of the new scale."""
    restated: dict[int, list[schema.TensorT]] = defaultdict(list)
    for graph in model.subgraphs:
        biases, others = _biases(model, graph, kernels)
        for index, ops in biases.items():
            tensor = graph.tensors[index]
            if index in others:  # it is the bias of an 8-bit kernel, too
                tensor = copy.copy(tensor)
                for op, place in ops:
                    op.inputs = [*op.inputs]
                    op.inputs[place] = len(graph.tensors)
                graph.tensors.append(tensor)
            restated[tensor.buffer].append(tensor)
    for index, tensors in restated.items():
        values = _values(model, index, _INTEGERS[tensors[0].type])
        place = index
        if len(tensors) < len(flatbuffer.weights(model)[index]):
            place = len(model.buffers)
            model.buffers.append(None)
        model.buffers[place] = _buffer(_levels(values).astype(values.dtype))
        for tensor in tensors:
            tensor.buffer = place
            _rescale(tensor)


def _biases(
    model: schema.ModelT, graph: schema.SubGraphT, kernels: Collection[int]
) -> tuple[dict[int, list[tuple[schema.OperatorT, int]]], set[int]]:
    """Integer biases beside these kernels with their uses, and what others read."""
    biases = defaultdict(list)
    others = set()
    for op in graph.operators:
        name = flatbuffer.operator_name(model, op)
        _, kernel, bias = KERNEL_OPERATORS.get(name, NO_KERNEL)
        for place, index in enumerate(map(int, op.inputs)):
            if (
                place == bias
                and index >= 0
                and graph.tensors[op.inputs[kernel]].buffer in kernels
                and graph.tensors[index].type in _INTEGERS
            ):
                biases[index].append((op, place))
            else:
                others.add(index)
    return biases, others


def _values(model: schema.ModelT, index: int, dtype: type) -> np.ndarray:
    return np.frombuffer(flatbuffer.buffer_bytes(model, index), dtype)


def _packed(levels: np.ndarray) -> np.ndarray:
    """Two integers in a byte, the first one in its lower half."""
    pairs = np.resize(np.append(levels, 0), (-(-levels.size // 2), 2)) & 15
    return (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8)


def _buffer(values: np.ndarray) -> schema.BufferT:
    return schema.BufferT(np.frombuffer(values.tobytes(), np.uint8))


def _rescale(tensor: schema.TensorT) -> None:
    tensor.quantization = copy.copy(tensor.quantization)
    scale = np.asarray(tensor.quantization.scale, "float64") * _RATIO
    tensor.quantization.scale = scale.astype("float32")
