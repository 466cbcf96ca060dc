"""A subgraph of a file, made operator by operator."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

FLOAT, INT8 = schema.TensorType.FLOAT32, schema.TensorType.INT8
TYPES = {
    "float32": FLOAT,
    "float16": schema.TensorType.FLOAT16,
    "int8": INT8,
    "int32": schema.TensorType.INT32,
    "bool": schema.TensorType.BOOL,
}


class Graph:
    """One subgraph of a file, to which operators are added."""

    def __init__(self, file, name):
        self.file, self.graph = file, schema.SubGraphT()
        self.graph.name = name.encode()
        self.graph.tensors, self.graph.operators = [], []
        file.model.subgraphs.append(self.graph)
        self.number = len(file.model.subgraphs) - 1

    def tensor(self, shape, dtype="float32", scale=None, value=None, axis=0):
        tensor = schema.TensorT()
        tensor.name = f"t{self.number}_{len(self.graph.tensors)}".encode()
        tensor.shape = np.array(shape, np.int32)
        tensor.type, tensor.buffer, tensor.hasRank = TYPES[dtype], 0, True
        if self.file.open and value is None and len(shape) == 2:
            tensor.shapeSignature = np.array([-1, *shape[1:]], np.int32)
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            tensor.quantization = schema.QuantizationParametersT(
                scale=scales,
                zeroPoint=np.zeros(len(scales), np.int64),
                quantizedDimension=axis,
            )
        if value is not None:
            tensor.buffer = self.file.buffer(np.asarray(value, dtype))
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def op(self, name, inputs, outputs, options=None, **values):
        op = schema.OperatorT()
        op.opcodeIndex = self.file.code(name)
        if options is not None:
            op.builtinOptions = getattr(schema, f"{options}T")(**values)
            op.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        op.inputs = np.array(inputs, np.int32)
        op.outputs = np.array(outputs, np.int32)
        self.graph.operators.append(op)
        return outputs

    def ends(self, inputs, outputs):
        self.graph.inputs = np.array(inputs, np.int32)
        self.graph.outputs = np.array(outputs, np.int32)

    def shape(self, x):
        return tuple(int(n) for n in self.graph.tensors[x].shape)

    def like(self, x):
        """A new tensor of the type and, in integers, some scale of the file."""
        scale = self.file.pick(*self.file.scales) if self.file.kind == "int8" else None
        return self.tensor(self.shape(x), self.file.dtype, scale)
