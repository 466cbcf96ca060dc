"""What TFLite's converter folds into a kernel, and what it must not."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import keras

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.layers.relax.affine import Affine
from keras_share.layers.substitute import accepts_training

KERNEL_LAYERS = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)

# All that Keras has but for RandomCrop, which cuts at inference as well.
_AUGMENTATIONS = (
    "AugMix",
    "CutMix",
    "MixUp",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Solarization",
)

# Layers of Keras that do nothing at inference.
IDENTITY_LAYERS = (
    # Some came with later versions of Keras.
    *(getattr(keras.layers, x) for x in _AUGMENTATIONS if hasattr(keras.layers, x)),
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
)


def is_identity(op: keras.Operation, args: tuple, kwargs: Mapping[str, Any]) -> bool:
    """Whether a call of a layer does nothing at inference, as that of `Dropout`."""
    if isinstance(op, IDENTITY_LAYERS):
        return True
    if not isinstance(op, keras.Layer) or op.weights or not accepts_training(op):
        return False
    with suppress(Exception):  # whatever a layer of the user's own raises on symbols
        return op.call(*args, **{**kwargs, "training": False}) is args[0]
    return False


NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
)


def base_layer(step: Step) -> keras.Layer:
    """The layer that a step runs, out of its quantizing wrapper."""
    return getattr(step.op, "quantized_layer", step.op)


def is_linear(layer: keras.Layer) -> bool:
    """Whether a layer has no activation function."""
    return getattr(layer, "activation", None) in (None, keras.activations.linear)


def folds(graph: FlatGraph, step: Step) -> bool:
    """Whether a BatchNormalization may be folded into the kernel before it.

    The converter turns BatchNormalization into a product and a sum, and folds the
    product into the kernel that it follows or precedes. A kernel that several sites
    use would come out as one kernel per site. Only the normalization of a kernel with
    a single use may be folded.
    """
    [tensor] = step.inputs
    producer = graph.producer(tensor)
    if producer is None or not isinstance(base_layer(producer), KERNEL_LAYERS):
        return False
    return (
        not is_shared_kernel(graph, producer)
        and is_linear(base_layer(producer))
        and len(graph.consumers(tensor)) == 1
        and not graph.is_output(tensor)
        and not _feeds_shared_kernel(graph, step)
    )


def scale_would_fold(graph: FlatGraph, step: Step) -> bool:
    """Whether the converter would fold the scale of a normalization where it must not.

    True for BatchNormalization that is not folded by right, and for the scale of a
    LayerNormalization without offset or an RMSNormalization right before a kernel that
    several sites use (an offset in between stops the converter), and for the private
    scale of a relaxation.
    """
    if isinstance(step.op, Affine):
        lead = step.output.shape[1 : -step.op.num_axes]
        return len(lead) <= 2 and lead.count(None) <= 1
    if not isinstance(step.op, NORMALIZATIONS):
        return False
    shape = step.output.shape
    # Of a tensor that is no image, the shape must be known to reshape it to one.
    static = len(shape) == 4 or None not in shape[1:]
    if not 2 <= len(shape) <= 4 or not static or not on_last_axis(step):
        return False
    if isinstance(step.op, keras.layers.BatchNormalization):
        return not folds(graph, step)
    scaled = isinstance(step.op, keras.layers.RMSNormalization) or (
        step.op.scale and not step.op.center
    )
    return scaled and _feeds_shared_kernel(graph, step)


def product_would_fold(graph: FlatGraph, step: Step) -> bool:
    """Whether the converter would fold a product by a constant where it must not.

    It folds one into the kernel before or behind it, of which it makes a copy if that
    has other uses.
    """
    [tensor] = graph.changing_inputs(step)
    producer = graph.producer(tensor)
    if producer is not None and isinstance(base_layer(producer), KERNEL_LAYERS):
        read_twice = graph.is_output(tensor) or len(graph.consumers(tensor)) > 1
        if read_twice or is_shared_kernel(graph, producer):
            return True
    return _feeds_shared_kernel(graph, step)


def activation_would_fold(graph: FlatGraph, step: Step) -> bool:
    """Whether an activation function of the user's own is read by a shared kernel.

    If that is a product, the converter folds it into a copy of the kernel.
    """
    function = getattr(base_layer(step), "activation", None)
    return is_own_code(function) and _feeds_shared_kernel(graph, step)


def is_own_code(code: Any) -> bool:
    """Whether a layer or a function is none of Keras's or of this package."""
    package = (getattr(code, "__module__", None) or "keras").split(".")[0]
    return package not in ("keras", "keras_share")


def on_last_axis(step: Step) -> bool:
    """Whether the scale of a normalization lies along the last axis."""
    axis = step.op.axis
    last = len(step.output.shape) - 1
    return axis in (-1, last, [-1], [last])


def _feeds_shared_kernel(graph: FlatGraph, step: Step) -> bool:
    return any(
        _feeds_shared_kernel(graph, consumer)
        if is_identity(consumer.op, consumer.args, consumer.kwargs)
        else is_shared_kernel(graph, consumer)
        for consumer in graph.consumers(step.output)
    )


def is_shared_kernel(graph: FlatGraph, step: Step) -> bool:
    """Whether a step uses a kernel that other steps use too."""
    if not isinstance(base_layer(step), KERNEL_LAYERS):
        return False
    return graph.num_uses(step.stand_ins.of(base_layer(step).kernel)) > 1
