"""TensorFlow's converter, called with what a way of quantizing needs."""

import gc
import math
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_share.export.conversion_error import explained
from keras_share.export.ends import Ends
from keras_share.layers.sublayers import sublayers
from keras_share.quantize.float_edge import FloatEdge
from keras_share.quantize.look_up import LookUp
from keras_share.quantize.quantization import Quantization

_LOOPS = ("While", "StatelessWhile")
_LARGE = 2**14  # numbers; a graph holds at most 2 GB of constants


def convert(
    model: keras.Model,
    quantization: Quantization,
    ends: Ends,
    calibration: list[list[np.ndarray]] | None,
) -> bytes:
    """Converts a model to a file.

    Args:
        model: The model as `inference_model` rebuilt it.
        quantization: How it is quantized.
        ends: The inputs and outputs. The file's inputs are called by `ends.keys`, and
            are in any order.
        calibration: Samples to find the ranges of activations by, if the converter is
            to do so.

    Raises:
        ValueError: If TensorFlow can't.
    """
    with explained(model):
        return _convert(model, quantization, ends, calibration)


def _convert(
    model: keras.Model,
    quantization: Quantization,
    ends: Ends,
    calibration: list[list[np.ndarray]] | None,
) -> bytes:
    import tensorflow as tf

    # As constants: to save variables, and to read them again, takes most of the time.
    small = [(v, v.numpy()) for v in model.variables if math.prod(v.shape) < _LARGE]

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
    module = tf.Module()
    module.serve = tf.function(serve, signature, autograph=False)
    concrete = module.serve.get_concrete_function()
    if calibration is not None:
        _check_no_loops(concrete.graph.as_graph_def())
    module.read = concrete.variables
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The converter warns of parts of itself that it uses.
        warnings.filterwarnings("ignore", module=r"tensorflow\.lite")
        tf.saved_model.save(module, folder, module.serve)
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
        if calibration is not None:
            converter.representative_dataset = lambda: (
                dict(zip(ends.keys, row, strict=True)) for row in calibration
            )
        with _only_new_objects_collected():
            return converter.convert()


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


def _check_no_loops(graph: Any) -> None:
    """Raises ValueError if a graph loops: at that the calibrator ends the process."""
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    loops = sorted({node.name for node in nodes if node.op in _LOOPS})
    if loops:
        raise ValueError(
            "TensorFlow's converter can't find the ranges of a model with a loop of "
            f"its own. Received: a loop in {', '.join(map(repr, loops))}. Quantize the "
            "model with `quantize_model`, which leaves that layer in floating point."
        )
