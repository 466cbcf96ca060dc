"""What rolling must know of LiteRT's operators."""

from ai_edge_litert import schema_py_generated as schema

# They compute alike whether an input is a constant of the file or not, at full speed.
ELEMENTWISE = {
    "ADD",
    "DIV",
    "MAXIMUM",
    "MINIMUM",
    "MUL",
    "POW",
    "SQUARED_DIFFERENCE",
    "SUB",
}

# They run other subgraphs.
CALLS = {"CALL", "IF", "STABLEHLO_COMPOSITE", "STABLEHLO_WHILE", "WHILE"}

# They keep something from call to call, or draw random numbers: not to be repeated.
STATEFUL = {
    "ASSIGN_VARIABLE",
    "CALL_ONCE",
    "HASHTABLE",
    "HASHTABLE_FIND",
    "HASHTABLE_IMPORT",
    "HASHTABLE_SIZE",
    "MULTINOMIAL",
    "RANDOM_STANDARD_NORMAL",
    "RANDOM_UNIFORM",
    "READ_VARIABLE",
    "STABLEHLO_RNG_BIT_GENERATOR",
    "VAR_HANDLE",
}

# They tell the sizes of a tensor and nothing of what it holds.
SIZES = {"RANK", "SHAPE"}

# The activations that ADD can take over from an operator.
ADD_ACTIVATIONS = {
    schema.ActivationFunctionType.NONE,
    schema.ActivationFunctionType.RELU,
    schema.ActivationFunctionType.RELU_N1_TO_1,
    schema.ActivationFunctionType.RELU6,
}

IF = schema.BuiltinOperator.IF
ADD = schema.BuiltinOperator.ADD
MUL = schema.BuiltinOperator.MUL


def is_scale(op: schema.OperatorT, kernel: schema.TensorT) -> bool:
    """Whether it is a convolution that multiplies each channel by a real number."""
    options = op.builtinOptions
    shape = [] if kernel.shape is None else [int(n) for n in kernel.shape]
    return (
        isinstance(options, schema.DepthwiseConv2DOptionsT)
        and kernel.type == schema.TensorType.FLOAT32
        and len(shape) == 4
        and shape[:3] == [1, 1, 1]
        and options.depthMultiplier == 1
        and options.strideH == options.strideW == 1
    )
