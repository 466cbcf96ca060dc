"""Files of TensorFlow's own converter for tests, and models made by hand."""

import copy

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from random_data import values

from keras_share.tflite.file import flatbuffer

SCHEMES = ["float32", "float16", "dynamic", "int8"]


def convert(model: keras.Model, scheme: str = "float32") -> bytes:
    """Converts a model of one input as TensorFlow does, without our export."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if scheme != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if scheme == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if scheme == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        shape = [size or 1 for size in model.inputs[0].shape]
        samples = [values(*shape, seed=seed) for seed in range(8)]
        converter.representative_dataset = lambda: ([x] for x in samples)
    return converter.convert()


def operator(name: str, inputs: list[int], outputs: list[int], **options):
    """An operator of the schema, of the code that `model_of` gives its name."""
    op = schema.OperatorT()
    op.name = name
    op.inputs, op.outputs = inputs, outputs
    for kind, settings in options.items():  # such as IfOptions={"thenSubgraphIndex": 1}
        second = hasattr(schema.BuiltinOptions2, kind)
        types = schema.BuiltinOptions2 if second else schema.BuiltinOptions
        made = getattr(schema, f"{kind}T")()
        vars(made).update(settings)
        suffix = "2" if second else ""
        setattr(op, f"builtinOptions{suffix}", made)
        setattr(op, f"builtinOptions{suffix}Type", getattr(types, kind))
    return op


def tensor(shape, dtype="float32", content=None, **quantization) -> schema.TensorT:
    """A tensor of the schema; `model_of` makes a buffer of its content."""
    made = schema.TensorT()
    made.shape = np.array(shape, "int32")
    made.type = getattr(schema.TensorType, dtype.upper())
    made.content = content
    made.name = b"tensor"
    if quantization:
        made.quantization = schema.QuantizationParametersT()
        vars(made.quantization).update(quantization)
    return made


def model_of(*graphs, signatures: list[int] = ()) -> schema.ModelT:
    """A model of subgraphs, each given as its tensors and operators."""
    model = schema.ModelT()
    model.version = 3
    model.buffers, model.operatorCodes, model.subgraphs = [schema.BufferT()], [], []
    names: list[str] = []
    for tensors, operators in graphs:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = list(tensors), list(operators)
        made = {i for op in operators for i in op.outputs}
        read = {i for op in operators for i in op.inputs if i >= 0}
        free = [i for i, t in enumerate(tensors) if t.content is None]
        graph.inputs = [i for i in free if i not in made]
        graph.outputs = [i for i in free if i in made and i not in read]
        for part in tensors:
            if part.content is not None:
                part.buffer = len(model.buffers)
                data = np.frombuffer(np.asarray(part.content).tobytes(), np.uint8)
                model.buffers.append(schema.BufferT(data))
        for op in operators:
            if op.name not in names:
                names.append(op.name)
            op.opcodeIndex = names.index(op.name)
        model.subgraphs.append(graph)
    for name in names:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        model.operatorCodes.append(code)
    for index in signatures:
        signature = schema.SignatureDefT()
        signature.subgraphIndex = index
        model.signatureDefs = [*(model.signatureDefs or ()), signature]
    return model


def call_of_first(data: bytes) -> bytes:
    """Makes all operators, equal products without bias, calls of one body by IF."""
    model = flatbuffer.read(data)
    main = model.subgraphs[0]
    first = main.operators[0]
    x, kernel, *_ = first.inputs
    op = copy.copy(first)
    op.inputs, op.outputs = [0, 1, -1], [2]
    body = schema.SubGraphT()
    body.tensors = [copy.copy(main.tensors[i]) for i in (x, kernel, *first.outputs)]
    body.operators, body.inputs, body.outputs = [op], [0], [2]
    model.subgraphs.append(body)
    model.buffers.append(schema.BufferT(np.ones(1, np.uint8)))
    true = tensor((), "bool")
    true.buffer = len(model.buffers) - 1
    main.tensors.append(true)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.IF
    code.version = 1
    model.operatorCodes.append(code)
    calls = []
    for old in main.operators:
        inputs = [len(main.tensors) - 1, int(old.inputs[0])]
        branches = {"thenSubgraphIndex": 1, "elseSubgraphIndex": 1}
        call = operator("IF", inputs, [int(old.outputs[0])], IfOptions=branches)
        call.opcodeIndex = len(model.operatorCodes) - 1
        calls.append(call)
    main.operators = calls
    return flatbuffer.pack(model)
