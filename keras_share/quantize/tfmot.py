"""TensorFlow Model Optimization's quantizers, made to fit Keras 3.

TFMOT takes only models of the legacy tf_keras, but its quantizers are plain objects
that work on tensors. They ask for two things: a layer with an `add_weight` as in
tf_keras, and TensorFlow variables to assign ranges to.
"""

import os
from typing import Any

import keras


def quantizers() -> Any:
    """TFMOT's module of quantizers.

    Raises:
        RuntimeError: If Keras doesn't run on TensorFlow.
        ImportError: If TFMOT is not installed.
    """
    check_backend("Quantization")
    # Importing TFMOT switches the whole process to legacy Keras, also for libraries
    # that are imported later.
    name = "TF_USE_LEGACY_KERAS"
    before = os.environ.get(name)
    try:
        import tensorflow_model_optimization as tfmot
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
    return tfmot.quantization.keras.quantizers


def check_backend(what: str) -> None:
    """Raises RuntimeError unless Keras runs on TensorFlow."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            f"{what} needs Keras on the TensorFlow backend. Save the model, set the "
            "environment variable KERAS_BACKEND=tensorflow, and load it again; or let "
            "export_tflite quantize it, which works from every backend: "
            "export_tflite(model, path, quantization='int8', "
            "representative_dataset=...). "
            f"Received: backend {backend!r}"
        )


def weight_quantizer(num_bits: int) -> Any:
    """Symmetric, narrow, one range per channel: what TFLite asks of int8 weights."""
    return quantizers().LastValueQuantizer(
        num_bits=num_bits, per_axis=True, symmetric=True, narrow_range=True
    )


def activation_quantizer(num_bits: int) -> Any:
    """One range per tensor: what TFLite asks of activations.

    It has zero at 0 in 16 bits, and anywhere in 8.
    """
    wide = num_bits > 8
    return quantizers().MovingAverageQuantizer(
        num_bits=num_bits, per_axis=False, symmetric=wide, narrow_range=wide
    )


def round_weights(
    quantizer: Any, matrix: Any, ranges: dict[str, keras.Variable]
) -> Any:
    """A matrix rounded to integers, and back, with a range for each column.

    The gradient passes straight through. That is what the quantizer's own computes, as
    a range of the present weights cuts nothing off, but for each column it takes
    longer than a layer does.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def straight_through(matrix, rounded):
        return tf.identity(rounded), lambda gradient: (gradient, None)

    weights = {name: QuantizerVariable(v) for name, v in ranges.items()}
    rounded = quantizer(matrix, True, weights)
    return straight_through(matrix, tf.stop_gradient(rounded))


class RangeOwner:
    """A Keras 3 layer with the `add_weight` that quantizers call."""

    def __init__(self, layer: keras.Layer):
        self._layer = layer

    def add_weight(
        self, name: str, initializer: Any, trainable: bool, shape: int | None = None
    ) -> keras.Variable:
        """Adds a variable of the quantizer to the layer."""
        return self._layer.add_weight(
            name=name,
            shape=() if shape is None else (shape,),
            initializer=keras.initializers.Constant(initializer.value),
            trainable=trainable,
            autocast=False,
            dtype="float32",
        )


class QuantizerVariable:
    """A Keras variable that looks like one of TensorFlow to a quantizer.

    In a stateless scope, as in a layer that is used through `Tied`, the value of a
    Keras variable is a tensor, to which nothing can be assigned.
    """

    def __init__(self, variable: keras.Variable):
        import tensorflow as tf

        self._variable = variable
        self.dtype = tf.as_dtype(variable.dtype)

    def assign(self, value: Any, **_: Any) -> Any:
        """Assigns as Keras does; returns the new value."""
        self._variable.assign(value)
        return self._variable.value

    def get_shape(self) -> Any:
        """The static shape."""
        import tensorflow as tf

        return tf.TensorShape(self._variable.shape)

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        return self._variable.value
