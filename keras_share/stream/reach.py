"""Which frames a layer reads: windows of convolutions and pooling, pads and crops."""

from typing import Any, NamedTuple

import keras
from keras import layers, tree

from keras_share.flat.flat_graph import Step
from keras_share.layers.past_frames import PastFrames
from keras_share.quantize.rules import operation_name

_WINDOWS = (
    *(layers.Conv1D, layers.Conv2D, layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D),
    *(layers.AveragePooling1D, layers.AveragePooling2D),
    *(layers.MaxPooling1D, layers.MaxPooling2D, PastFrames),
)
# Closed, so that an error names the layer and not the operations in it.
CLOSED = (
    *(layers.AdditiveAttention, layers.Attention, layers.Bidirectional),
    *(layers.GroupQueryAttention, layers.MultiHeadAttention, layers.TimeDistributed),
)
_ATTENTION = (
    "keras_share.blocks.WindowedAttention, a GRU or causal convolutions, which know a "
    "bounded past"
)
_NO_END = (
    "a pooling over a window (AveragePooling1D(n, strides=1) behind "
    "ZeroPadding1D((n - 1, 0))), or a GRU, whose state is the summary"
)
_ADVICE = {
    **dict.fromkeys(
        ["AdditiveAttention", "Attention", "GroupQueryAttention", "MultiHeadAttention"],
        _ATTENTION,
    ),
    "Bidirectional": "its forward layer alone, as LSTM(units, return_sequences=True)",
    "Flatten": "a convolution as long as what is flattened: Conv1D(units, length)",
    **dict.fromkeys(["GlobalAveragePooling1D", "GlobalMaxPooling1D"], _NO_END),
    **dict.fromkeys(["mean", "max", "sum", "amax", "min"], _NO_END),
    "GroupNormalization": "LayerNormalization or BatchNormalization",
    "flip": "no flip of time",
}


class Window(NamedTuple):
    """The frames that a layer reads for each frame of its output.

    Attributes:
        size: Their number, those between that a dilation leaves out among them.
        stride: By how many frames the next one begins later.
        padding: `"valid"`, `"causal"` or `"same"`.
    """

    size: int
    stride: int
    padding: str


def inner(op: keras.Operation) -> keras.Operation:
    """The layer whose weights are quantized, if they are; else the operation."""
    return getattr(op, "quantized_layer", op)


def kind_of(step: Step) -> str:
    """The class of a step's layer, or the name of its operation."""
    # A loop is opened to what a recurrent layer does.
    op = step.within[-1][0] if step.body and step.within else inner(step.op)
    return type(op).__name__ if isinstance(op, keras.Layer) else operation_name(op)


def name_of(step: Step) -> str:
    """The name of a step; of a loop, that of the recurrent layer."""
    return step.name.removesuffix(".steps") if step.body else step.name


def advice_for(step: Step) -> str:
    """What could stand in place of a step that mixes frames."""
    return _ADVICE.get(
        kind_of(step), "a layer that computes each frame of this frame alone"
    )


def window_of(step: Step) -> Window | None:
    """The window that a layer has over time; None if it is of another kind."""
    op = inner(step.op)
    pools = not isinstance(op, keras.Layer) and kind_of(step) in (
        "average_pool",
        "max_pool",
    )
    if not isinstance(op, _WINDOWS) and not pools:
        return None
    settings = vars(op)
    names = ("kernel_size", "pool_size", "window")
    size = next(_first(settings[name]) for name in names if name in settings)
    stride = 1 if isinstance(op, PastFrames) else settings.get("strides")
    stride = size if stride is None else _first(stride)
    size = (size - 1) * _first(settings.get("dilation_rate", 1)) + 1
    return Window(size, stride, settings["padding"] if size > 1 else "valid")


def shift_of(step: Step) -> int | None:
    """By how many frames a step moves all: zeros before them count positive.

    None if the step is no padding or cropping in time, or one at the end alone.
    """
    op, kind = step.op, kind_of(step)
    if kind.startswith(("ZeroPadding", "Cropping")) and isinstance(op, keras.Layer):
        (before, after), *others = (
            [op.padding if "Zero" in kind else op.cropping]
            if kind.endswith("1D")
            else (op.padding if "Zero" in kind else op.cropping)
        )
        if kind.startswith("Zero"):
            return before if not after and not _any(others) else None
        return -before if not _any(others) else None
    if kind == "pad" and getattr(op, "mode", None) == "constant":
        value = step.kwargs.get("constant_values", 0) or 0
        nothing, (before, after), *others = op.pad_width
        zero = not (value or after or _any([nothing, *others]))
        return int(before) if zero else None
    if kind == "get_item":
        return _crop_of(step)
    return None


def _crop_of(step: Step) -> int | None:
    """The frames that a slice leaves out before those that it takes."""
    key = step.args[1] if len(step.args) > 1 else step.kwargs.get("key")
    key = key if isinstance(key, tuple) else (key,)
    if len(key) < 2 or not all(isinstance(k, slice) for k in key):
        return None
    whole, frames, *others = key
    if any(k != slice(None) for k in (whole, *others)):
        return None
    start, stop = frames.start or 0, frames.stop
    # So many frames of the end: which those are isn't known before it.
    fits = start >= 0 and (stop is None or stop < 0) and frames.step in (None, 1)
    return -start if fits and (start or stop) else None


def _first(value: Any) -> int:
    return int(tree.flatten(value)[0])


def _any(values: Any) -> bool:
    return any(tree.flatten(values))
