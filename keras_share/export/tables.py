"""`TableWriter`: look-ups of a quantized model, as operators of its file."""

from collections.abc import Iterable

import numpy as np

from keras_share.quantize.look_up import LOOK_UP, LookUp
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.parts import new_constant, new_operator, new_tensor

_INTEGERS = np.arange(-128, 128)


class TableWriter:
    """Writes each look-up between integers as a GATHER of a table of 256 integers.

    Args:
        model: The parsed file, of which look-ups are operators that TFLite lacks.
        look_ups: The layers that these are of.
    """

    def __init__(self, model: schema.ModelT, look_ups: Iterable[LookUp]):
        self.model = model
        self.layers = {f"{LOOK_UP}:{layer.name}": layer for layer in look_ups}

    def write(self, graph: schema.SubGraphT) -> None:
        """Writes those of a subgraph.

        Raises:
            ValueError: If the converter left one of them between floats.
        """
        makers = {int(i): op for op in graph.operators for i in op.outputs}
        readers: dict[int, list[schema.OperatorT]] = {}
        for op in graph.operators:
            for tensor in map(int, op.inputs):
                readers.setdefault(tensor, []).append(op)
        gathers: dict[int, list[schema.OperatorT]] = {}  # by id of what rounded
        gone: set[int] = set()
        for op in graph.operators:
            layer = self.layers.get(self._name(op).removeprefix("CUSTOM:"))
            if layer is None:
                continue
            before, after = int(op.inputs[0]), int(op.outputs[0])
            ends = [makers.get(before), *readers.get(after, ())]
            names = [end and self._name(end) for end in ends]
            if names[0] != "DEQUANTIZE" or set(names[1:]) != {"QUANTIZE"}:
                place = flatbuffer.text(graph.tensors[after].name)
                raise ValueError(
                    "The file must look up between integers what the model does. "
                    f"Received: '{place}' between {', '.join(map(str, names))}. Report "
                    "this with the model, please."
                )
            source, *rounds = ends
            gone.add(id(op))
            for end in rounds:
                tensors = int(source.inputs[0]), int(end.outputs[0])
                gathers[id(end)] = self._gather(graph, layer, *tensors)
        graph.operators = [
            part
            for op in graph.operators
            if id(op) not in gone
            for part in gathers.get(id(op), [op])
        ]

    def _name(self, op: schema.OperatorT) -> str:
        return flatbuffer.operator_name(self.model, op)

    def _gather(
        self, graph: schema.SubGraphT, layer: LookUp, source: int, result: int
    ) -> list[schema.OperatorT]:
        """The operators that look up the integers of one tensor to get another."""
        model, int32 = self.model, schema.TensorType.INT32
        x, y = graph.tensors[source], graph.tensors[result]
        wide, places = new_tensor(graph, x), new_tensor(graph, x)
        for tensor in (graph.tensors[wide], graph.tensors[places]):
            tensor.type, tensor.quantization = int32, None
        cast = schema.CastOptionsT()
        cast.inDataType, cast.outDataType = x.type, int32
        first = new_constant(model, graph, np.array(-_INTEGERS[0], "int32"))
        table = new_constant(model, graph, _table(layer, x, y))
        graph.tensors[table].quantization = y.quantization
        given, options = [wide, first], schema.AddOptionsT()
        return [
            new_operator(model, "CAST", [source], wide, cast),
            new_operator(model, "ADD", given, places, options),
            new_operator(
                model, "GATHER", [table, places], result, schema.GatherOptionsT()
            ),
        ]


def _table(layer: LookUp, x: schema.TensorT, y: schema.TensorT) -> np.ndarray:
    """What becomes of each integer of a tensor."""
    scale, zero = _range(x)
    numbers = layer.results((_INTEGERS - zero).astype("float32") * scale)
    scale, zero = _range(y)
    # Half goes up, as in the quantizers of the model.
    integers = np.floor(numbers / scale + np.float32(0.5)) + zero
    return np.clip(integers, _INTEGERS[0], _INTEGERS[-1]).astype("int8")


def _range(tensor: schema.TensorT) -> tuple[np.float32, int]:
    [scale], [zero] = tensor.quantization.scale, tensor.quantization.zeroPoint
    return np.float32(scale), int(zero)
