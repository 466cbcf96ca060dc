"""TensorFlow's converter, called with what a scheme of quantization needs."""

import re
import tempfile
import warnings
from typing import Any

import keras
import numpy as np

from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.quantize_weights import QuantizeWeights
from keras_share.tflite.file import flatbuffer


def convert(
    model: keras.Model,
    scheme: str,
    dataset: list[list[np.ndarray]] | None,
    ends: tuple[str, ...],
    inputs: list[str],
    outputs: list[str],
) -> bytes:
    """Converts a model to a file with names of one's own.

    Args:
        model: The model as `inference_model` rebuilt it.
        scheme: How it is quantized.
        dataset: Samples, for the scheme `"int8"`.
        ends: The types of the inputs and of the outputs of the file.
        inputs: The names of the inputs.
        outputs: The names of the outputs, in the order of `keras.tree.flatten`.
    """
    import tensorflow as tf

    def serve(*arrays):
        structure = keras.tree.pack_sequence_as(model.input, arrays)
        results = keras.tree.flatten(model(structure, training=False))
        return dict(zip(outputs, results, strict=True))

    # TensorFlow takes names of Python's arguments only, and orders by them.
    safe = [f"input_{i:03}" for i in range(len(inputs))]
    # `model.export` would free the batch size again.
    signature = [
        tf.TensorSpec(x.shape, x.dtype, name=name)
        for x, name in zip(model.inputs, safe, strict=True)
    ]
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
            converter.representative_dataset = lambda: (
                dict(zip(safe, row, strict=True)) for row in dataset
            )
        data = converter.convert()
    return _in_order(data, dict(zip(safe, inputs, strict=True)), outputs)


def _in_order(data: bytes, inputs: dict[str, str], outputs: list[str]) -> bytes:
    """Gives a file its inputs and outputs in the order of the model's, and names."""
    model = flatbuffer.read(data)
    [signature] = model.signatureDefs
    graph = model.subgraphs[signature.subgraphIndex]
    for ends, names in ((signature.inputs, [*inputs]), (signature.outputs, outputs)):
        ends.sort(key=lambda end: names.index(flatbuffer.text(end.name)))
    for end in signature.inputs:
        end.name = inputs[flatbuffer.text(end.name)].encode()
    graph.inputs = np.array([end.tensorIndex for end in signature.inputs], np.int32)
    graph.outputs = np.array([end.tensorIndex for end in signature.outputs], np.int32)
    return flatbuffer.pack(model)


def input_names(model: keras.Model) -> list[str]:
    """Names for the inputs of a model's file.

    Those of `keras.Input`, and numbers for inputs without: the names that Keras gives
    them count what else was made in the same process.
    """
    single = len(model.inputs) == 1
    names = [
        ("input" if single else f"input_{i}")
        if re.fullmatch(r"keras_tensor(_\d+)?", x.name)
        else x.name
        for i, x in enumerate(model.inputs)
    ]
    if len(set(names)) < len(names):
        names = [f"input_{i}" for i in range(len(names))]
    return names


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
        names = [_without_suffix(model, name) for name in own]
    count = len(keras.tree.flatten(output))
    if len(set(names)) != count:
        names = [f"output_{i}" for i in range(count)]
    return names


def _without_suffix(model: keras.Model, name: str) -> str:
    """The name of a layer from before it was quantized."""
    for layer in model.layers:
        if layer.name == name and isinstance(layer, FakeQuantize):
            return name.removesuffix("_range")
        if layer.name == name and isinstance(layer, QuantizeWeights):
            return name.removesuffix("_quantized")
    return name
