"""`quantize_model`: quantization-aware training of Keras 3 models with tied weights."""

import warnings
from typing import Any

import keras
from keras import tree

from keras_share.graph import FlatGraph, Rebuilder, Step, flatten
from keras_share.quantize.layers import FakeQuantize, QuantizeWeights
from keras_share.quantize.placement import Placement, place
from keras_share.quantize.report import report_of
from keras_share.quantize.tfmot import check_backend
from keras_share.representative import Representative, batches
from keras_share.sublayers import sublayers


def quantize_model(
    model: keras.Model, representative_dataset: Representative = None
) -> keras.Model:
    """Prepares a model for quantization-aware training (int8, for TFLite).

    Returns a new Functional model with copies of the weights, in which every kernel
    is rounded to int8 per output channel before use, and activations to int8 per
    tensor. A kernel has one quantizer whatever the number of its uses, and every use
    of a layer has activation ranges of its own. Train it with `compile` and `fit`, save
    it as any model, and export it with `export_tflite`.

    The arithmetic is TensorFlow Model Optimization's quantizers'. Its own
    `quantize_model` refuses Keras 3 models and gives tied layers one range for all
    uses (TFMOT issues 1119 and 994).

    Covered: Dense, EinsumDense, Conv1D, Conv2D, DepthwiseConv1D and DepthwiseConv2D,
    BatchNormalization, pooling, residual adds and products, and the common
    activation functions, in any composite layer, nested model, `Tied` or
    `SharedStack`. Other layers stay in floating point and are named in a warning; see
    `quantization_report`.

    The new model computes in float32, whatever the dtype policy of the old one. A
    composite layer that runs other operations in training than at inference, or uses
    weights outside of the layers that own them, stays closed and in floating point.

    Args:
        model: A built Sequential or Functional model, trained or not.
        representative_dataset: Samples to set the activation ranges from, as arrays
            in the structure of the model's inputs or a function that yields samples
            with a batch axis. Without it, ranges start at [-6, 6] as in TFMOT and
            follow the training data slowly; with it, the model can be exported as it
            is (calibration without training).

    Returns:
        A Functional Keras model, not compiled.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model, or the
            dataset doesn't fit it.
        RuntimeError: If Keras doesn't run on the TensorFlow backend.

    Example:
    >>> import keras, keras_share, numpy as np
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((8,)),
    ...         keras_share.SharedStack(keras.layers.Dense(8, "relu"), "AAA"),
    ...     ]
    ... )
    >>> x = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
    >>> quantized = keras_share.quantize_model(model, representative_dataset=x)
    >>> quantized.compile("adam", "mse")
    >>> history = quantized.fit(x, x, verbose=0)
    """
    check_backend("quantize_model")
    if any(isinstance(part, FakeQuantize) for part in sublayers(model)):
        raise ValueError(
            f"The model '{model.name}' is quantized already. Pass the float model."
        )
    graph = flatten(model)
    placements = place(graph)
    _warn(report_of(graph, placements).float_layers)
    quantized = _Builder(graph, placements).build()
    if representative_dataset is not None:
        calibrate(quantized, representative_dataset)
    return quantized


def calibrate(model: keras.Model, representative_dataset: Representative) -> None:
    """Sets the activation ranges of a quantized model to those of the samples.

    Args:
        model: A model from `quantize_model`.
        representative_dataset: Samples, as in `quantize_model`.

    Raises:
        ValueError: If the dataset doesn't fit the model.
    """
    layers = [part for part in sublayers(model) if isinstance(part, FakeQuantize)]
    # Read before the ranges are touched: bad samples leave the model as it was.
    dataset = list(batches(representative_dataset, model, batch_size=32))
    try:
        for layer in layers:
            layer.start_observing()
        for batch in dataset:
            model(tree.pack_sequence_as(model.input, batch), training=False)
    finally:
        for layer in layers:
            layer.stop_observing()


def _warn(left: tuple) -> None:
    if left:
        names = "; ".join(f"'{row.name}' ({row.kind}): {row.reason}" for row in left)
        warnings.warn(
            f"Parts of the model stay in floating point: {names}.",
            stacklevel=3,
        )


class _Builder:
    """Builds the quantized model, step by step."""

    def __init__(self, graph: FlatGraph, placements: dict[Step, Placement]):
        self.graph = graph
        self.placements = placements
        self.rebuilder = Rebuilder(graph, wrap=self._wrap)
        self.split = {id(s.op) for s, p in placements.items() if p.split_activation}
        self.kernels = {id(s.op) for s, p in placements.items() if p.rule == "kernel"}
        # Tensors of the graph that are integers at this point, or become so within
        # the operator that reads them.
        self.quantized: set[int] = set()

    def build(self) -> keras.Model:
        for step in self.graph:
            placement = self.placements[step]
            if not placement.is_float:
                self._quantize_inputs(step)
            outputs = self.rebuilder.call(step)
            if placement.split_activation:
                outputs = self._activate(step, outputs)
            elif placement.quantize_output:
                outputs = FakeQuantize(name=f"{step.name}_range")(outputs)
            self.rebuilder.set(step.outputs, outputs)
            if not placement.is_float:
                self.quantized.add(id(step.output))
        return self.rebuilder.finish()

    def _quantize_inputs(self, step: Step) -> None:
        for tensor in step.inputs:
            if id(tensor) in self.quantized or "float" not in tensor.dtype:
                continue
            producer = self.graph.producer(tensor)
            source = producer.name if producer else tensor.name
            x = FakeQuantize(name=f"{source}_range")(self.rebuilder.resolve(tensor))
            self.rebuilder.set(tensor, x)
            self.quantized.add(id(tensor))

    def _activate(self, step: Step, outputs: Any) -> Any:
        outputs = FakeQuantize(name=f"{step.name}_linear_range")(outputs)
        function = step.op.activation
        outputs = keras.layers.Activation(function, name=f"{step.name}_activation")(
            outputs
        )
        if self.placements[step].fixed_range:
            return outputs
        return FakeQuantize(name=f"{step.name}_range")(outputs)

    def _wrap(self, copy: keras.Layer, original: keras.Layer) -> keras.Layer:
        if id(original) in self.split:
            copy.activation = keras.activations.linear
        if id(original) not in self.kernels:
            return copy
        wrapper = QuantizeWeights(copy, name=f"{copy.name}_quantized")
        wrapper.trainable = copy.trainable  # else the layer can't be unfrozen by it
        return wrapper
