"""Writing runs of operators as one subgraph that is called in their places."""

import copy
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.kernel_places import KERNEL_OPERATORS, NO_KERNEL
from keras_share.tflite.repeats import operators
from keras_share.tflite.repeats.line import Line, Operation
from keras_share.tflite.repeats.windows import Windows

_NONE = schema.ActivationFunctionType.NONE
_TYPES = {"bool": schema.TensorType.BOOL, "float32": schema.TensorType.FLOAT32}


def write_bodies(line: Line, found: Iterable[Windows]) -> list[schema.SubGraphT]:
    """Puts a subgraph and its calls in the place of runs of operators.

    A call is an IF whose condition is a constant and whose branches are the same
    subgraph: LiteRT and TensorFlow Lite Micro run it, and set the subgraph up once, so
    that its kernels are packed once.

    Args:
        line: The operators of the model, which is changed in place.
        found: Disjoint runs.

    Returns:
        The new subgraphs, one for each of the runs.
    """
    model = line.model
    writer = _Writer(model)
    calls: dict[int, tuple[int, schema.OperatorT]] = {}
    bodies = []
    for windows in found:
        body = _Body(line, windows, writer)
        bodies.append(body.graph(f"shared_{len(model.subgraphs)}"))
        made = body.calls(len(model.subgraphs))
        model.subgraphs.append(bodies[-1])
        for start, call in zip(windows.starts, made, strict=True):
            calls[start] = windows.length, call
    place = 0
    left: dict[int, list[schema.OperatorT]] = defaultdict(list)
    while place < len(line.operations):
        operation, length = line.operations[place], 1
        if operation is not None:
            length, op = calls.get(place, (1, operation.op))
            left[operation.graph].append(op)
        place += length
    for graph, ops in left.items():
        read = {int(i) for op in ops for i in op.inputs}
        converting = [
            op
            for (number, tensor), op in line.converted.items()
            if number == graph and (tensor in read or (number, tensor) in line.kept)
        ]
        model.subgraphs[graph].operators = converting + ops
    return bodies


class _Writer:
    """New operators and constants of a model."""

    def __init__(self, model: schema.ModelT):
        self._model = model
        self._codes: dict[int, int] = {}
        self._buffers: dict[bytes, int] = {}
        self._constants: dict[tuple, int] = {}

    def operator(
        self, code: int, options: Any, inputs: Iterable[int], outputs: Iterable[int]
    ) -> schema.OperatorT:
        op = schema.OperatorT()
        op.opcodeIndex = self._code(code)
        kind = type(options).__name__.removesuffix("T")
        op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        op.builtinOptions = options
        op.inputs, op.outputs = _numbers(inputs), _numbers(outputs)
        return op

    def constant(self, tensors: list[schema.TensorT], value: np.ndarray) -> int:
        """The number of a constant among the tensors of a subgraph, to which it adds.

        It is written once, however often it is asked for.
        """
        content = value.tobytes()
        key = id(tensors), value.dtype.str, value.shape, content
        if key not in self._constants:
            if content not in self._buffers:
                self._buffers[content] = len(self._model.buffers)
                data = np.frombuffer(content, np.uint8)
                self._model.buffers.append(schema.BufferT(data))
            tensor = schema.TensorT()
            tensor.name = f"constant_{len(tensors)}".encode()
            tensor.type = _TYPES[value.dtype.name]
            tensor.shape = np.array(value.shape, np.int32)
            tensor.hasRank = True
            tensor.buffer = self._buffers[content]
            self._constants[key] = len(tensors)
            tensors.append(tensor)
        return self._constants[key]

    def _code(self, builtin: int) -> int:
        if builtin not in self._codes:
            self._codes[builtin] = len(self._model.operatorCodes)
            code = schema.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = builtin
            self._model.operatorCodes.append(code)
        return self._codes[builtin]


@dataclass
class _Body:
    """The subgraph of some windows, and what each call passes to it and gets back."""

    line: Line
    windows: Windows
    writer: _Writer
    tensors: list[schema.TensorT] = field(default_factory=list)
    operators: list[schema.OperatorT] = field(default_factory=list)
    # Number in the body, by the numbers that a tensor has in the repetitions, or by
    # what tells a constant.
    numbers: dict[tuple, int] = field(default_factory=dict)
    arguments: list[tuple[int, ...]] = field(default_factory=list)
    results: list[tuple[int, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for column in self.windows.columns():
            self._add([self.line.operation(place) for place in column])

    def graph(self, name: str) -> schema.SubGraphT:
        graph = schema.SubGraphT()
        graph.name = name.encode()
        graph.tensors = self.tensors
        graph.operators = self.operators
        graph.inputs = _numbers(self.numbers[a] for a in self.arguments)
        graph.outputs = _numbers(self.numbers[r] for r in self.results)
        return graph

    def calls(self, number: int) -> list[schema.OperatorT]:
        options = schema.IfOptionsT(thenSubgraphIndex=number, elseSubgraphIndex=number)
        made = []
        for i, place in enumerate(self.windows.starts):
            caller = self.line.operation(place).tensors
            condition = self.writer.constant(caller, np.array([True]))
            inputs = [condition, *(a[i] for a in self.arguments)]
            outputs = [r[i] for r in self.results]
            made.append(self.writer.operator(operators.IF, options, inputs, outputs))
        return made

    def _add(self, column: list[Operation]) -> None:
        """Adds what stands for the operators of one column."""
        first = column[0]
        _, place, bias = KERNEL_OPERATORS.get(first.name, NO_KERNEL)
        scale = place is not None and self._differs(column, place)
        apart = scale or (
            bias is not None
            and bias < len(first.operands)
            and first.operands[bias].need == "bias"
            and self._differs(column, bias)
        )
        outputs = [self._output(column, k) for k in range(len(first.op.outputs))]
        num_inputs = len(first.op.inputs)
        if apart:
            assert bias is not None  # what takes none is not taken apart
            num_inputs = bias
        inputs = [self._input(column, position) for position in range(num_inputs)]
        if apart:
            self._add_apart(column, inputs, outputs, scale)
            return
        op = copy.copy(first.op)
        op.inputs, op.outputs = _numbers(inputs), _numbers(outputs)
        self.operators.append(op)

    def _add_apart(
        self,
        column: list[Operation],
        inputs: list[int],
        outputs: list[int],
        scale: bool,
    ) -> None:
        """Adds an operator without its bias and an ADD, or MUL and ADD for a scale."""
        op = copy.copy(column[0].op)
        activation = op.builtinOptions.fusedActivationFunction
        product = self._append(copy.copy(self.tensors[outputs[0]]))
        added = self._bias(column)
        channels = int(self.tensors[added].shape[-1])
        if scale:
            multiply = schema.MulOptionsT()
            op = self.writer.operator(operators.MUL, multiply, inputs, [product])
        else:
            op.builtinOptions = copy.copy(op.builtinOptions)
            op.builtinOptions.fusedActivationFunction = _NONE
            # Zeros, as not every kernel of a runtime can do without a bias.
            zeros = np.zeros(channels, np.float32)
            inputs = [*inputs, self.writer.constant(self.tensors, zeros)]
            op.inputs, op.outputs = _numbers(inputs), _numbers([product])
        add = schema.AddOptionsT(fusedActivationFunction=activation)
        add = self.writer.operator(operators.ADD, add, [product, added], outputs)
        self.operators += [op, add]

    def _differs(self, column: list[Operation], position: int) -> bool:
        operands = [s.operands[position] for s in column if position < len(s.operands)]
        return len({(o.type, o.constant) for o in operands}) > 1

    def _input(self, column: list[Operation], position: int) -> int:
        operands = [operation.operands[position] for operation in column]
        if operands[0].tensor < 0:
            return -1
        tensors = tuple(operand.tensor for operand in operands)
        if not self._differs(column, position) and operands[0].constant is not None:
            key = (operands[0].type, operands[0].constant)
            if key not in self.numbers:
                self.numbers[key] = self._constant(column[0], tensors[0])
            return self.numbers[key]
        return self._argument(column, tensors)

    def _constant(self, operation: Operation, number: int) -> int:
        converting = self.line.converted.get((operation.graph, number))
        tensor = self._tensor(operation, number)
        if converting is None:
            tensor.buffer = operation.tensors[number].buffer
            return self._append(tensor)
        op = copy.copy(converting)
        op.inputs = _numbers([self._constant(operation, int(converting.inputs[0]))])
        op.outputs = _numbers([self._append(tensor)])
        self.operators.append(op)
        return int(op.outputs[0])

    def _argument(self, column: list[Operation], tensors: tuple[int, ...]) -> int:
        """A tensor of the body for what the repetitions get from outside of them."""
        if tensors not in self.numbers:
            self.numbers[tensors] = self._append(self._tensor(column[0], tensors[0]))
            self.arguments.append(tensors)
        return self.numbers[tensors]

    def _output(self, column: list[Operation], k: int) -> int:
        tensors = tuple(int(operation.op.outputs[k]) for operation in column)
        self.numbers[tensors] = self._append(self._tensor(column[0], tensors[0]))
        for operation, tensor, start in zip(
            column, tensors, self.windows.starts, strict=True
        ):
            key = (operation.graph, tensor)
            inside = range(start, start + self.windows.length)
            readers = self.line.consumers.get(key, ())
            if key in self.line.kept or any(place not in inside for place in readers):
                self.results.append(tensors)
                break
        return self.numbers[tensors]

    def _bias(self, column: list[Operation]) -> int:
        """The bias of the repetitions; of one without, numbers that change nothing."""
        _, kernel, place = KERNEL_OPERATORS[column[0].name]
        assert kernel is not None and place is not None  # else nothing is apart
        biases = [operation.operands[place].tensor for operation in column]
        sizes = [
            int(np.prod(operation.tensors[number].shape))
            for operation, number in zip(column, biases, strict=True)
            if number >= 0
        ]
        # None has a bias only where private scales are taken apart.
        scale = column[0].tensors[column[0].operands[kernel].tensor]
        channels = sizes[0] if sizes else int(scale.shape[-1])
        nothing = np.full(channels, -0.0, np.float32)  # 0.0 would turn -0.0 to 0.0
        tensors = [
            bias if bias >= 0 else self.writer.constant(operation.tensors, nothing)
            for operation, bias in zip(column, biases, strict=True)
        ]
        return self._argument(column, tuple(tensors))

    def _tensor(self, operation: Operation, number: int) -> schema.TensorT:
        tensor = copy.copy(operation.tensors[number])
        tensor.buffer = 0
        return tensor

    def _append(self, tensor: schema.TensorT) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1


def _numbers(values: Iterable[int]) -> np.ndarray:
    return np.array(list(values), np.int32)
