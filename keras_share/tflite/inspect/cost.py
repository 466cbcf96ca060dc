"""What each operator of a .tflite model costs: multiplications and bytes."""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.stored import constants, nbytes, shape_of
from keras_share.tflite.inspect.calls import num_calls


@dataclass(frozen=True)
class OperatorCost:
    """What one operator costs each time that it runs.

    Free dimensions, such as that of the batch, count as 1.

    Attributes:
        subgraph: Number of its subgraph.
        name: Name in LiteRT's schema.
        dtype: Type of the first output, or `"-"` without outputs.
        types: Types of its inputs and outputs, such as `"float32, int8 -> float32"`.
        calls: How often its subgraph runs in one inference.
        macs: Multiply-accumulates of products, convolutions and recurrent cells; 0 for
            operators that go over their input once, such as sums and activations.
        weight_bytes: Bytes of the stored tensors among its inputs. (Of a table that it
            looks numbers up in it reads less.) Half precision counts as it is stored.
        activation_bytes: Bytes of its other inputs and its outputs.
    """

    subgraph: int
    name: str
    dtype: str
    types: str
    calls: int
    macs: int
    weight_bytes: int
    activation_bytes: int


def operator_costs(model: schema.ModelT) -> tuple[OperatorCost, ...]:
    """The costs of all operators, in order of the file.

    Raises:
        ValueError: If the calls of subgraphs are damaged.
    """
    weights = flatbuffer.weights(model)
    costs = []
    for subgraph, calls in enumerate(num_calls(model)):
        graph = model.subgraphs[subgraph]
        constant = constants(model, graph, weights)
        costs += [_cost(model, subgraph, op, calls, constant) for op in graph.operators]
    return tuple(costs)


def _cost(
    model: schema.ModelT,
    subgraph: int,
    op: schema.OperatorT,
    calls: int,
    constant: Mapping[int, schema.TensorT],
) -> OperatorCost:
    tensors = model.subgraphs[subgraph].tensors
    present = [int(i) for i in op.inputs if i >= 0]
    made = [int(i) for i in op.outputs if i >= 0]
    stored = [constant[i].buffer for i in present if i in constant]
    passing = [tensors[i] for i in present + made if i not in constant]
    outputs = [tensors[i] for i in made]
    name = flatbuffer.operator_name(model, op)
    return OperatorCost(
        subgraph=subgraph,
        name=name,
        dtype=flatbuffer.dtype_name(outputs[0].type) if outputs else "-",
        types=f"{_types([tensors[i] for i in present])} -> {_types(outputs)}",
        calls=calls,
        macs=_macs(name, op, tensors, constant),
        weight_bytes=sum(flatbuffer.buffer_size(model, i) for i in stored),
        activation_bytes=sum(map(nbytes, passing)),
    )


def _types(tensors: list[schema.TensorT]) -> str:
    names = dict.fromkeys(flatbuffer.dtype_name(t.type) for t in tensors)
    return ", ".join(names) or "-"


def _macs(
    name: str,
    op: schema.OperatorT,
    tensors: Sequence[schema.TensorT],
    constant: Container[int],
) -> int:
    shapes = [shape_of(tensors[i]) if i >= 0 else () for i in op.inputs]
    results = [shape_of(tensors[i]) for i in op.outputs if i >= 0]
    output = math.prod(results[0]) if results else 0
    if name in _PER_OUTPUT and len(shapes) > 1:
        return output * _PER_OUTPUT[name](shapes[1])
    if name in _PER_INPUT and len(shapes) > 2:
        return math.prod(shapes[2]) * _PER_INPUT[name](shapes[1])
    if name == "BATCH_MATMUL" and shapes and len(shapes[0]) > 1:
        transposed = getattr(op.builtinOptions, "adjX", False)
        return output * shapes[0][-2 if transposed else -1]
    if name in _RECURRENT and shapes and shapes[0]:
        # Every matrix meets every step once.
        pairs = zip(op.inputs, shapes, strict=True)
        matrices = [s for i, s in pairs if i in constant and len(s) == 2]
        return math.prod(shapes[0][:-1]) * sum(map(math.prod, matrices))
    return 0


# Multiplications per number of the output, by the shape of the kernel.
_PER_OUTPUT: dict[str, Callable[[tuple[int, ...]], int]] = {
    "FULLY_CONNECTED": lambda kernel: kernel[-1] if kernel else 0,
    "CONV_2D": lambda kernel: math.prod(kernel[1:]),  # out, h, w, in
    "DEPTHWISE_CONV_2D": lambda kernel: math.prod(kernel[1:3]),  # 1, h, w, out
    "CONV_3D": lambda kernel: math.prod(kernel[:4]),  # d, h, w, in, out
}
# Per number of the input, which is spread over the output; padding is not left out.
_PER_INPUT: dict[str, Callable[[tuple[int, ...]], int]] = {
    "TRANSPOSE_CONV": lambda kernel: math.prod(kernel[:3]),  # out, h, w, in
    "CONV_3D_TRANSPOSE": lambda kernel: math.prod(kernel[:4]),  # d, h, w, out, in
}
_RECURRENT = {
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "LSTM",
    "RNN",
    "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
}
