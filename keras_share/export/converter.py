"""TensorFlow's converter, called with what a way of quantizing needs."""

import gc
import math
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import keras
import numpy as np

from keras_share.export.conversion_error import explained
from keras_share.export.ends import Ends
from keras_share.layers.sublayers import sublayers
from keras_share.quantize.float_edge import FloatEdge
from keras_share.quantize.look_up import LookUp
from keras_share.quantize.quantization import Quantization

_ONE_AT_A_TIME = Lock()
# As TensorFlow has them: the names of what stands outermost, and of what is inside.
_ROOT = r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*"
_INNER = r"[A-Za-z0-9_.\\/>-]*"
_LARGE = 2**14  # numbers; a graph holds at most 2 GB of constants


def convert(model: keras.Model, quantization: Quantization, ends: Ends) -> bytes:
    """Converts a model to a file.

    Args:
        model: The model as `inference_model` rebuilt it.
        quantization: How it is quantized.
        ends: The inputs and outputs. The file's inputs are called by `ends.keys`, and
            are in any order.

    Raises:
        ValueError: If TensorFlow can't.
    """
    check_names(model)
    with explained(model):
        return _convert(model, quantization, ends)


def check_names(model: keras.Model) -> None:
    """Raises ValueError for names that TensorFlow doesn't take.

    Keras finds them too late: it leaves the process with them before all other names.
    """
    inputs = keras.layers.InputLayer  # of any name: the file has them by number
    parts = [
        x for x in sublayers(model) if x is not model and not isinstance(x, inputs)
    ]
    names = [part.name for part in parts]
    for name, form in [(model.name, _ROOT), *((name, _INNER) for name in names)]:
        if not re.fullmatch(form, name):
            raise ValueError(
                "In a file names must be of the letters A to Z, digits, '_', '-' and "
                "'.', and that of the model must begin with a letter, a digit or '.'. "
                f"Received: {name!r} in the model '{model.name}'. Give it another name."
            )


def _convert(model: keras.Model, quantization: Quantization, ends: Ends) -> bytes:
    import tensorflow as tf

    # As constants: to save variables, and to read them again, takes most of the time.
    small = [
        (v, _uneven(v.numpy()) if quantization.activations else v.numpy())
        for v in model.variables
        if math.prod(v.shape) < _LARGE
    ]

    def serve(*arrays):
        structure = keras.tree.pack_sequence_as(model.input, arrays)
        with keras.StatelessScope([(v, tf.constant(value)) for v, value in small]):
            results = keras.tree.flatten(model(structure, training=False))
        return dict(zip(ends.outputs, results, strict=True))

    # `model.export` would free the batch size again.
    signature = [
        tf.TensorSpec(x.shape, x.dtype, name=key)
        for x, key in zip(model.inputs, ends.keys, strict=True)
    ]
    # Concrete, as the function would be traced again for its signature.
    with _dilations_kept():
        traced = tf.function(serve, signature, autograph=False).get_concrete_function()
    module = tf.Module()
    module.read = traced.variables
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The converter warns of parts of itself that it uses.
        warnings.filterwarnings("ignore", module=r"tensorflow\.lite")
        tf.saved_model.save(module, folder, traced)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if quantization is not Quantization.FLOAT32:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantization is Quantization.FLOAT16:
            converter.target_spec.supported_types = [tf.float16]
        if quantization is Quantization.INT16:
            # By this the ranges of softmax, sigmoid and tanh are found. It asks for
            # samples only if there are no ranges.
            whole = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"
            converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, whole)]
        converter.inference_input_type, converter.inference_output_type = map(
            tf.as_dtype, ends.types
        )
        converter.allow_custom_ops = any(
            isinstance(part, (FloatEdge, LookUp)) for part in sublayers(model)
        )
        with _only_new_objects_collected():
            return converter.convert()


@contextmanager
def _dilations_kept() -> Iterator[None]:
    """Around what traces convolutions: a dilated one stays a single operation.

    TensorFlow writes it as one on a batch of strided parts, as its CPU kernels had no
    dilations. The converter has a pattern for that, which two that read one tensor do
    not match: their bias is added outside then, and is in floating point.
    """
    import tensorflow as tf

    # By the names of TensorFlow's arguments, as layers of users' own may call them.
    def convolution(
        input: Any, filters: Any, strides: Any = None, padding: str = "VALID", **kwargs
    ) -> Any:
        known = {1: tf.nn.conv1d, 2: tf.nn.conv2d}
        function = known.get(len(filters.shape) - 2, before["convolution"])
        return function(input, filters, strides or 1, padding, **kwargs)

    def depthwise_conv2d(
        *given: Any, data_format: Any = None, dilations: Any = None, **kwargs: Any
    ) -> Any:
        whole = tf.compat.v1.nn.depthwise_conv2d_native
        data_format = data_format or "NHWC"
        steps = [1, 1, 1, 1]
        first = data_format.index("H")
        steps[first : first + 2] = dilations or (1, 1)
        return whole(*given, data_format=data_format, dilations=steps, **kwargs)

    ours = {"convolution": convolution, "depthwise_conv2d": depthwise_conv2d}
    with _ONE_AT_A_TIME:
        before = {name: getattr(tf.nn, name) for name in ours}
        try:
            vars(tf.nn).update(ours)
            yield
        finally:
            vars(tf.nn).update(before)


def _uneven(value: np.ndarray) -> np.ndarray:
    """A vector of equal numbers with the next larger one in place of the first.

    The converter takes a bias of equal numbers for a single one, and rounds it for all
    channels with the scale of the first.
    """
    is_bias = value.ndim == 1 and "float" in value.dtype.name
    if not is_bias or not value.any() or (value != value[:1]).any():
        return value
    return np.append(np.nextafter(value[:1], np.inf, dtype=value.dtype), value[1:])


@contextmanager
def _only_new_objects_collected() -> Iterator[None]:
    """The converter collects garbage: of all that lives, half the time of an export."""
    if gc.get_freeze_count():  # somebody else's
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
