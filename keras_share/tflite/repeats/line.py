"""The operators of a model in one line, each with what tells it from others."""

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.kernel_places import KERNEL_OPERATORS, NO_KERNEL
from keras_share.tflite.file.stored import nbytes
from keras_share.tflite.repeats import operators

_FLOAT = schema.TensorType.FLOAT32


@dataclass(frozen=True, eq=False)
class Operand:
    """An input of an operator.

    Attributes:
        tensor: Its number in the subgraph; -1 for one that is left out.
        constant: What tells its value if the file holds that, else None: the number
            of its buffer, as equal values stand in one, or the operator that converts
            it from a smaller type with that number.
        type: Type, shape and quantization.
        need: What must be equal for two operators to be calls of one body.
    """

    tensor: int
    constant: Hashable
    type: Hashable
    need: Hashable


@dataclass(frozen=True, eq=False)
class Operation:
    """An operator in its place.

    Attributes:
        graph: Number of its subgraph.
        tensors: The tensors of its subgraph.
        op: The operator.
        name: Its name in the schema.
        operands: Its inputs.
        key: Equal for operators that one operator of a body can stand for, given
            that tied kernels and what leads from one to another are equal, too.
        kernel: The value of its kernel, if it is one that is packed, or None.
    """

    graph: int
    tensors: list[schema.TensorT]
    op: schema.OperatorT
    name: str
    operands: tuple[Operand, ...]
    key: Hashable
    kernel: Hashable

    @property
    def kernel_tensor(self) -> schema.TensorT:
        """The tensor of its kernel, if it is of a kind that has one."""
        return self.tensors[self.op.inputs[KERNEL_OPERATORS[self.name].kernel]]


@dataclass
class Line:
    """All operators of a model; None stands between two subgraphs.

    Attributes:
        operations: One subgraph after the other, each with what does not depend on
            kernels with several uses first.
        converted: The operators that only convert a constant, by subgraph and tensor;
            they are none of the operations.
        producer: Place of the operator that writes a tensor, by subgraph and tensor.
        consumers: Places of those that read it.
        kept: The tensors that a subgraph or a signature gives back.
        kernel_bytes: Bytes of the kernels in memory, by their values.
        has_state: Whether an operator keeps a state: what runs subgraphs may, then.
    """

    model: schema.ModelT
    operations: list[Operation | None] = field(default_factory=list)
    converted: dict[tuple[int, int], schema.OperatorT] = field(default_factory=dict)
    producer: dict[tuple[int, int], int] = field(default_factory=dict)
    consumers: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    kept: set[tuple[int, int]] = field(default_factory=set)
    kernel_bytes: dict[Hashable, int] = field(default_factory=dict)
    has_state: bool = False

    @classmethod
    def of(cls, model: schema.ModelT) -> "Line":
        """Lines up the operators of a model whose equal constants share buffers."""
        line = cls(model)
        line.has_state = any(
            flatbuffer.operator_name(model, op) in operators.STATEFUL
            for graph in model.subgraphs
            for op in graph.operators
        )
        graphs = [line._of_graph(number) for number in range(len(model.subgraphs))]
        uses = Counter(o.kernel for operations in graphs for o in operations)
        for operations in graphs:
            if line.operations:
                line.operations.append(None)
            for operation in _independent_first(operations, uses):
                line._append(operation)
        for signature in model.signatureDefs or ():
            for end in signature.outputs or ():
                line.kept.add((signature.subgraphIndex, end.tensorIndex))
        return line

    def _of_graph(self, number: int) -> list[Operation]:
        graph = self.model.subgraphs[number]
        self.kept.update((number, int(i)) for i in graph.outputs)
        types = [_type(tensor) for tensor in graph.tensors]
        outside = set(map(int, graph.inputs))
        written = {int(i) for op in graph.operators for i in op.outputs}
        constants: list[Hashable] = [
            None
            if i in outside
            or i in written
            or tensor.isVariable
            or getattr(tensor, "externalBuffer", 0)
            else int(tensor.buffer)
            for i, tensor in enumerate(graph.tensors)
        ]
        operations = []
        pending = Counter(int(i) for op in graph.operators for i in op.outputs)
        for op in graph.operators:
            if any(pending[int(i)] for i in op.inputs):
                raise ValueError(
                    "An operator of a .tflite model must stand behind those whose "
                    f"outputs it reads. Received: subgraph {number}, in which "
                    f"{flatbuffer.operator_name(self.model, op)} does not. The file is "
                    "damaged: copy or export it again."
                )
            pending.subtract(map(int, op.outputs))
            name = flatbuffer.operator_name(self.model, op)
            if name == "DEQUANTIZE" and constants[op.inputs[0]] is not None:
                # Weights in half precision, or integers of which a runtime makes reals.
                [source], [output] = op.inputs, op.outputs
                constants[output] = (types[source], constants[source], types[output])
                self.converted[number, int(output)] = op
            else:
                operations.append(_operation(self, number, op, types, constants))
        return operations

    def _append(self, operation: Operation) -> None:
        place = len(self.operations)
        self.operations.append(operation)
        for index in map(int, operation.op.outputs):
            self.producer[operation.graph, index] = place
        for index in {operand.tensor for operand in operation.operands}:
            self.consumers.setdefault((operation.graph, index), []).append(place)
        if operation.kernel is not None:
            self.kernel_bytes[operation.kernel] = nbytes(operation.kernel_tensor)

    def operation(self, place: int) -> Operation:
        """The operator of a place that is not between two subgraphs."""
        operation = self.operations[place]
        assert operation is not None, place
        return operation

    def packing(self) -> Iterator[tuple[int, Operation]]:
        """The operators whose kernel the runtime packs, with their places."""
        for place, operation in enumerate(self.operations):
            if operation is not None and operation.kernel is not None:
                yield place, operation


def _independent_first(operations: list[Operation], uses: Counter) -> list[Operation]:
    """Moves what needs no kernel with several uses to the front.

    A mask that is computed for all sites stands within the first one otherwise, which
    would not be like the others.
    """
    dependent: set[int] = set()
    front, back = [], []
    for operation in operations:
        tied = operation.kernel is not None and uses[operation.kernel] > 1
        reads = {operand.tensor for operand in operation.operands}
        if tied or operation.key is None or reads & dependent:
            dependent.update(map(int, operation.op.outputs))
            back.append(operation)
        else:
            front.append(operation)
    return front + back


def _operation(
    line: Line,
    number: int,
    op: schema.OperatorT,
    types: list[Hashable],
    constants: list[Hashable],
) -> Operation:
    model = line.model
    graph = model.subgraphs[number]
    name = flatbuffer.operator_name(model, op)
    inputs = [int(i) for i in op.inputs]
    _, place, bias = KERNEL_OPERATORS.get(name, NO_KERNEL)
    kernel, scale = None, False
    if place is not None and len(inputs) > place and inputs[place] >= 0:
        kernel, tensor = constants[inputs[place]], graph.tensors[inputs[place]]
        scale = kernel is not None and operators.is_scale(op, tensor)
    free = kernel is not None and _can_take_bias_apart(graph, op, bias)
    operands = []
    for position, index in enumerate(inputs):
        if index < 0:
            operands.append(Operand(index, None, None, None))
            continue
        constant, type_ = constants[index], types[index]
        need: Hashable = type_
        if constant is not None and not (
            name in operators.ELEMENTWISE
            or position == bias
            or (position == place and scale and free)
        ):
            need = (type_, constant)
        if position == bias and free and constant is not None:
            need = "bias"
        operands.append(Operand(index, constant, type_, need))
    if (free and bias is not None) and (
        len(operands) == bias or operands[bias].tensor < 0
    ):
        operands[bias : bias + 1] = [Operand(-1, None, None, "bias")]
    key: Hashable = None
    runs_state = line.has_state and name in operators.CALLS
    if not (runs_state or _is_stateful(graph, op, name)):
        key = (
            name,
            model.operatorCodes[op.opcodeIndex].version,
            _frozen(op.builtinOptions),
            _frozen(op.builtinOptions2),
            _frozen(op.customOptions),
            tuple(operand.need for operand in operands),
            tuple(types[int(i)] for i in op.outputs),
        )
    kernel = None if scale else kernel
    return Operation(number, graph.tensors, op, name, tuple(operands), key, kernel)


def _can_take_bias_apart(
    graph: schema.SubGraphT,
    op: schema.OperatorT,
    bias: int | None,
) -> bool:
    """Whether kernel and bias of an operator may be applied by two, one by one.

    That is exact in floating point: the reference kernels add the bias last.
    """
    if bias is None or len(op.outputs) != 1 or len(op.inputs) < bias:
        return False
    options = op.builtinOptions
    activation = getattr(options, "fusedActivationFunction", None)
    present = len(op.inputs) > bias and op.inputs[bias] >= 0
    return (
        graph.tensors[op.outputs[0]].type == _FLOAT
        and activation in operators.ADD_ACTIVATIONS
        and (not present or graph.tensors[op.inputs[bias]].type == _FLOAT)
    )


def _is_stateful(graph: schema.SubGraphT, op: schema.OperatorT, name: str) -> bool:
    return (
        name in operators.STATEFUL
        or any(i >= 0 and graph.tensors[i].isVariable for i in op.inputs)
        or (op.intermediates is not None and len(op.intermediates) > 0)
    )


def _type(tensor: schema.TensorT) -> Hashable:
    return (
        tensor.type,
        _frozen(tensor.shape),
        _frozen(tensor.shapeSignature),
        _frozen(_scales(tensor.quantization)),
        _frozen(tensor.sparsity),
        _frozen(tensor.variantTensors),
    )


def _scales(quantization: Any) -> Any:
    # The range of calibration is a remark, and there are several forms of no scale.
    if quantization is None or quantization.scale is None:
        return None
    if not len(quantization.scale):
        return None
    return (
        np.asarray(quantization.scale),
        np.asarray(quantization.zeroPoint),
        quantization.quantizedDimension if len(quantization.scale) > 1 else 0,
        quantization.details,
    )


def _frozen(value: Any) -> Hashable:
    """The value of an object of the schema, which can be compared and hashed."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    if hasattr(value, "__dict__"):
        items = sorted(vars(value).items())
        return (type(value).__name__, *((k, _frozen(v)) for k, v in items))
    return value
