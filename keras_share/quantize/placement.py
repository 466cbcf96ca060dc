"""Where the quantizers go: a rule per kind of step, decided before building."""

from dataclasses import dataclass

import keras

from keras_share.graph import FlatGraph, Step
from keras_share.graph.folding import (
    IDENTITY_LAYERS,
    KERNEL_LAYERS,
    folds,
    is_linear,
    on_last_axis,
    scale_would_fold,
)
from keras_share.relax.affine import Affine
from keras_share.transposed import Transposed

# TFLite computes these with one quantization for input and output.
_SAME_RANGE = {
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePool",
    "Cropping1D",
    "Cropping2D",
    "ExpandDims",
    "Flatten",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "MaxPool",
    "MaxPooling1D",
    "MaxPooling2D",
    "Permute",
    "Reshape",
    "Squeeze",
    "Transpose",
    "UpSampling1D",
    "ZeroPadding1D",
    "ZeroPadding2D",
}
# Their output needs a range of its own.
_NEW_RANGE = {
    "Add",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "Mean",
    "Multiply",
    "Subtract",
}
_ACTIVATIONS = {"gelu", "hard_swish", "hard_silu", "leaky_relu", "silu", "swish"}
# TFLite fixes the range of their output.
_FIXED_RANGE = {"sigmoid", "softmax", "tanh"}
# Computed as part of the operator before them.
_FUSED = {"relu", "relu6"}


@dataclass(frozen=True)
class Placement:
    """What is done with one step.

    Attributes:
        rule: `kernel`, `folded`, `normalization`, `compute`, `same range`,
            `fixed range`, `identity`, `integer` or `float`.
        quantize_output: Whether a range of its own follows the step.
        split_activation: Whether the activation of a layer becomes a step of its own.
        fixed_range: Whether TFLite fixes the output range of the activation function.
        reason: Why a step stays in floating point.
    """

    rule: str
    quantize_output: bool = False
    split_activation: bool = False
    fixed_range: bool = False
    reason: str = ""

    @property
    def is_float(self) -> bool:
        """Whether the step stays in floating point."""
        return self.rule == "float"


def place(graph: FlatGraph) -> dict[Step, Placement]:
    """Decides for each step of a graph, in order."""
    sources = {id(s.op.source) for s in graph if isinstance(s.op, Transposed)}
    return {
        step: Placement("float", reason="its matrix is used transposed, too")
        if isinstance(step.op, Transposed) or id(step.op) in sources
        else _place(graph, step)
        for step in graph
    }


def activation_name(step: Step) -> str | None:
    """The activation function that a step computes and nothing else, or None."""
    op = step.op
    if isinstance(op, keras.layers.Activation):
        return getattr(op.activation, "__name__", None)
    if isinstance(op, keras.layers.ReLU):
        plain = not op.negative_slope and not op.threshold
        limits = {None: "relu", 6: "relu6"}
        return limits.get(op.max_value) if plain else None
    if isinstance(op, keras.layers.LeakyReLU):
        return "leaky_relu"
    if isinstance(op, keras.layers.Softmax):
        return "softmax"
    if isinstance(op, keras.layers.Layer):
        return None
    names = {"HardSilu": "hard_silu", "LeakyRelu": "leaky_relu"}
    name = type(op).__name__
    return names.get(name, name.lower())


def _place(graph: FlatGraph, step: Step) -> Placement:
    op, name = step.op, type(step.op).__name__
    outputs = keras.tree.flatten(step.outputs)
    if not any("float" in x.dtype for x in [*step.inputs, *outputs]):
        return Placement("integer")
    if isinstance(op, IDENTITY_LAYERS):
        return Placement("identity")
    if isinstance(op, KERNEL_LAYERS):
        return _place_kernel(graph, step)
    if isinstance(op, keras.layers.BatchNormalization):
        return _place_normalization(graph, step)
    if isinstance(op, Affine):
        return _place_affine(graph, step)
    if step.reason is not None:
        return Placement("float", reason=step.reason)
    activation = activation_name(step)
    if activation in _FUSED or activation in _ACTIVATIONS:
        return Placement("compute", quantize_output=True)
    if activation in _FIXED_RANGE:
        return Placement("fixed range")
    if name in _SAME_RANGE:
        return Placement("same range")
    if name in _NEW_RANGE:
        return Placement("compute", quantize_output=not _is_fused_next(graph, step))
    return Placement("float", reason=f"there is no rule for {name}")


def _place_normalization(graph: FlatGraph, step: Step) -> Placement:
    fused = _is_fused_next(graph, step)
    if not on_last_axis(step):
        return Placement("float", reason="its axis is not the last one")
    if folds(graph, step):
        return Placement("folded", quantize_output=not fused)
    return _place_affine(graph, step)


def _place_affine(graph: FlatGraph, step: Step) -> Placement:
    if not scale_would_fold(graph, step):
        return Placement("float", reason="the shape of its input is not known")
    # Exported as a convolution over an image; a tensor of another rank is reshaped
    # around it, and nothing is fused across that.
    fused = _is_fused_next(graph, step) and len(step.output.shape) == 4
    return Placement("normalization", quantize_output=not fused)


def _place_kernel(graph: FlatGraph, step: Step) -> Placement:
    if getattr(step.op, "data_format", "channels_last") != "channels_last":
        return Placement("float", reason="its channels are not the last axis")
    name = getattr(getattr(step.op, "activation", None), "__name__", "linear")
    if is_linear(step.op):
        consumers = graph.consumers(step.output)
        normalized = (
            len(consumers) == 1
            and isinstance(consumers[0].op, keras.layers.BatchNormalization)
            and folds(graph, consumers[0])
        )
        fused = normalized or _is_fused_next(graph, step)
        return Placement("kernel", quantize_output=not fused)
    if name in _FUSED:
        return Placement("kernel", quantize_output=True)
    if name in _ACTIVATIONS or name in _FIXED_RANGE:
        return Placement(
            "kernel",
            quantize_output=True,
            split_activation=True,
            fixed_range=name in _FIXED_RANGE,
        )
    return Placement("float", reason=f"there is no rule for its activation {name!r}")


def _is_fused_next(graph: FlatGraph, step: Step) -> bool:
    """Whether the only reader of a step's output is an activation fused into it."""
    consumers = graph.consumers(step.output)
    return (
        len(consumers) == 1
        and not graph.is_output(step.output)
        and activation_name(consumers[0]) in _FUSED
    )
