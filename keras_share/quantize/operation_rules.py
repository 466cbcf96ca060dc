"""Rules for the operations of `keras.ops` that have one TFLite operator."""

from keras import layers

from keras_share.layers.held_weight import HeldWeight, ToBatch
from keras_share.layers.past_frames import PastFrames
from keras_share.quantize.rules import QuantizeRule, register_rules

# Values are moved or selected: inputs and output have one range. Without a rule a layer
# without weights is opened to the operations that it runs; of the layers here the sizes
# may not be known then.
_MOVED = """
    amax amin average_pool broadcast_to concatenate copy depth_to_space expand_dims
    get_item max max_pool min moveaxis pad ravel repeat reshape resize roll
    slice space_to_depth split squeeze stack swapaxes take tile transpose
"""
_MOVED_LAYERS = (
    *(layers.Flatten, layers.Permute, layers.RepeatVector, layers.Reshape),
    *(layers.Resizing, layers.UpSampling1D, layers.UpSampling2D, PastFrames, ToBatch),
)
register_rules(
    (*_MOVED.split(), *_MOVED_LAYERS),
    QuantizeRule(output="input", how="int8, in the range of its input"),
)
# One of several values is taken at each place: TFLite asks for one range. It holds what
# constants are among them, too, so that the output is rounded again.
register_rules(
    ("maximum", "minimum", "where"),
    QuantizeRule(output="input", how="int8, in the range of its inputs"),
)
register_rules(
    (HeldWeight,),
    QuantizeRule(how="a weight that operations read: int8, in one range"),
)
_COMPUTED = """
    absolute add clip dot einsum exp gelu hard_silu leaky_relu matmul mean multiply relu
    relu6 subtract sum tensordot
"""
register_rules(_COMPUTED.split(), QuantizeRule(how="int8"))
register_rules(
    ("rsqrt",), QuantizeRule(how="int8, of what is never negative, as a sum of squares")
)
# TFLite fixes the ranges of these outputs.
for _names, _range in (
    (("sigmoid", "softmax"), (0.0, 1.0)),
    (("tanh",), (-1.0, 1.0)),
    (("log_softmax",), (-16.0 + 1 / 16, 1 / 16)),
):
    register_rules(
        _names, QuantizeRule(output=_range, how=f"int8, in the range {_range}")
    )
register_rules(
    (layers.Rescaling,),
    QuantizeRule(
        how="int8, as a product and a sum; as a depthwise convolution of size 1 in "
        "16 bits"
    ),
)
