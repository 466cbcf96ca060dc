"""What TFLite's converter folds into a kernel, and what it must not."""

import keras

from keras_share.graph.flat_graph import FlatGraph, Step

KERNEL_LAYERS = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)

# Layers that do nothing at inference.
IDENTITY_LAYERS = (
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
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
        graph.num_uses(producer.op) == 1
        and is_linear(base_layer(producer))
        and len(graph.consumers(tensor)) == 1
        and not graph.is_output(tensor)
        and not any(_shares(graph, s) for s in graph.consumers(step.output))
    )


def _shares(graph: FlatGraph, step: Step) -> bool:
    return isinstance(base_layer(step), KERNEL_LAYERS) and graph.num_uses(step.op) > 1
