"""TensorFlow's converter, called with what a scheme of quantization needs."""

import tempfile
import warnings
from typing import Any

import keras
import numpy as np

from keras_share.quantize.fake_quantize import FakeQuantize


def convert(
    model: keras.Model,
    scheme: str,
    dataset: list[list[np.ndarray]] | None,
    ends: tuple[str, ...],
    names: list[str],
) -> bytes:
    """Converts a model with an own name for each output.

    Args:
        model: The model as `inference_model` rebuilt it.
        scheme: How it is quantized.
        dataset: Samples, for the scheme `"int8"`.
        ends: The types of the inputs and of the outputs of the file.
        names: The names of the outputs, in the order of `keras.tree.flatten`.
    """
    import tensorflow as tf

    def serve(*inputs):
        structure = keras.tree.pack_sequence_as(model.input, inputs)
        outputs = keras.tree.flatten(model(structure, training=False))
        return dict(zip(names, outputs, strict=True))

    # `model.export` would free the batch size again.
    signature = [tf.TensorSpec(x.shape, x.dtype, name=x.name) for x in model.inputs]
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve, signature)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The converter warns of parts of itself that it uses.
        warnings.filterwarnings("ignore", module=r"tensorflow\.lite")
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if scheme != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if scheme == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if scheme == "trained int16":
            # By this the ranges of softmax, sigmoid and tanh are found. It asks for
            # samples only if there are no ranges.
            whole = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"
            converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, whole)]
        converter.inference_input_type = tf.as_dtype(ends[0])
        converter.inference_output_type = tf.as_dtype(ends[1])
        if scheme == "int8":
            # By name: the converter orders the inputs of a file by theirs.
            names = [x.name for x in model.inputs]
            converter.representative_dataset = lambda: (
                dict(zip(names, row, strict=True)) for row in dataset
            )
        return converter.convert()


def output_names(model: keras.Model, output: Any) -> list[str]:
    """Names for the outputs of a model's file, in the order of `keras.tree.flatten`.

    They are the keys of a dict, or the names of the layers that the outputs come from;
    numbers where that gives one name to several.

    Args:
        model: The user's model.
        output: The output of the rebuilt one, in the same structure.
    """
    if isinstance(output, dict):
        names = keras.tree.flatten({key: str(key) for key in output})
    else:
        # Sequential has no `output_names`; operations are named there, too.
        own = getattr(model, "output_names", None) or [model.layers[-1].name]
        ranges = {x.name for x in model.layers if isinstance(x, FakeQuantize)}
        names = [x.removesuffix("_range") if x in ranges else x for x in own]
    count = len(keras.tree.flatten(output))
    if len(set(names)) != count:
        names = [f"output_{i}" for i in range(count)]
    return names
