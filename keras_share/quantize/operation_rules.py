"""Rules for the operations of `keras.ops` that have one TFLite operator."""

from keras import layers

from keras_share.quantize.rules import QuantizeRule, register_rule

# Values are moved or selected: inputs and output have one range.
_MOVED = [
    "amax",
    "amin",
    "average_pool",
    "broadcast_to",
    "concatenate",
    "copy",
    "depth_to_space",
    "expand_dims",
    "get_item",
    "max",
    "max_pool",
    "min",
    "moveaxis",
    "pad",
    "ravel",
    "repeat",
    "reshape",
    "resize",
    "roll",
    "space_to_depth",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "take",
    "tile",
    "transpose",
]
# Values are computed.
_COMPUTED = [
    "absolute",
    "add",
    "clip",
    "dot",
    "einsum",
    "exp",
    "gelu",
    "hard_silu",
    "leaky_relu",
    "matmul",
    "mean",
    "multiply",
    "relu",
    "relu6",
    "rsqrt",
    "silu",
    "sqrt",
    "subtract",
    "sum",
    "tensordot",
]

for _name in _MOVED:
    register_rule(
        _name, QuantizeRule(output="input", how="int8, in the range of its input")
    )
for _name in _COMPUTED:
    register_rule(_name, QuantizeRule(how="int8"))
# One of several values is taken at each place: TFLite asks for one range. It holds what
# constants are among them, too, so that the output is rounded again.
for _name in ("maximum", "minimum", "where"):
    register_rule(
        _name, QuantizeRule(output="input", how="int8, in the range of its inputs")
    )
# TFLite fixes the ranges of these outputs.
for _name, _range in (
    ("sigmoid", (0.0, 1.0)),
    ("softmax", (0.0, 1.0)),
    ("tanh", (-1.0, 1.0)),
):
    register_rule(
        _name, QuantizeRule(output=_range, how=f"int8, in the range {_range}")
    )

# Layers of one operator. Without a rule a layer without weights is opened to the
# operations that it runs; of these the sizes may not be known then.
for _layer in (
    layers.Flatten,
    layers.Permute,
    layers.RepeatVector,
    layers.Reshape,
    layers.Resizing,
    layers.UpSampling1D,
    layers.UpSampling2D,
):
    register_rule(
        _layer, QuantizeRule(output="input", how="int8, in the range of its input")
    )
register_rule(
    layers.Rescaling,
    QuantizeRule(
        how="int8, as a product and a sum; as a depthwise convolution of size 1 in "
        "16 bits"
    ),
)
