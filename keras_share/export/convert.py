"""`export_tflite`: from a Keras model to a checked `.tflite` file."""

import math
import os
import tempfile
import warnings
from collections import Counter

import keras
import numpy as np

from keras_share.export.inference import inference_model
from keras_share.export.int4 import store_int4
from keras_share.export.int16 import fit_int16
from keras_share.files import check_writable, write_atomically
from keras_share.graph import flatten
from keras_share.graph.flatten import check_model, input_structure
from keras_share.graph.folding import base_layer, is_shared_kernel
from keras_share.graph.precision import full_precision
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.quantize_weights import QuantizeWeights
from keras_share.quantize.tfmot import check_backend
from keras_share.representative import Representative, random_sample, samples
from keras_share.sublayers import sublayers
from keras_share.tflite.audit import Audit, audit
from keras_share.tflite.dedupe import dedupe
from keras_share.tflite.flatbuffer import pack, read
from keras_share.tflite.run import predict

# How far the file's outputs may be from the Keras model's, as a share of the largest
# output. Quantized files differ by design; these bounds tell a file that is wrong.
TOLERANCES = {
    "float32": 1e-4,
    "float16": 2e-2,
    "dynamic": 0.25,
    "int8": 0.5,
    "int16": 0.1,
    "trained int8": 0.1,
    "trained int16": 0.1,
    "trained dynamic": 0.1,
}
_CHECKED_SAMPLES = 4
_KERNEL_TYPES = ("float32", "float16", "int8", "int4")


def export_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    quantization: str | None = None,
    representative_dataset: Representative = None,
    inference_input_type: str = "float32",
    inference_output_type: str = "float32",
) -> Audit:
    """Exports a model to a `.tflite` file in which shared weights are stored once.

    What the converter would fold into one kernel per site (a private
    BatchNormalization beside a tied kernel) is written so that it can't be, and a
    warning tells of a shared kernel that was stored several times anyhow. The file is
    run in the LiteRT interpreter and compared with the Keras model before it is
    written, first to a temporary name. The batch size of the file is 1.

    Args:
        model: A built Sequential or Functional model, or one from `quantize_model`.
        path: Where to write the file.
        quantization: `"float32"` (the default), `"float16"` (weights in half
            precision), `"dynamic"` (int8 weights, float activations: for phones), or
            `"int8"` (weights and activations, with ranges from
            `representative_dataset`: for microcontrollers and accelerators). A model
            from `quantize_model` is exported as it was trained; leave it None.
        representative_dataset: Samples, as arrays in the structure of the model's
            inputs or a function that yields samples with a batch axis. Needed for
            `"int8"`; if given, the file is also compared with the model on them
            instead of on random numbers.
        inference_input_type: `"float32"`, or the integers that the file takes in place
            of floating-point inputs: `"int8"` (`"int16"` for a model of that scheme).
            `predict_tflite` rounds to them. Inputs of integers stay as they are.
        inference_output_type: Likewise, of the outputs.

    Returns:
        The `Audit` of the file.

    Raises:
        ValueError: If the model is not built or not walkable, an argument is unknown
            or missing, the samples don't fit, or the file's outputs differ from the
            model's.
        OSError: If the folder doesn't exist or can't be written; told before the
            conversion.
        RuntimeError: If Keras doesn't run on the TensorFlow backend.

    Example:
    >>> import keras, keras_share
    >>> stack = keras_share.SharedStack(keras.layers.Dense(64, "relu"), "AAAA")
    >>> model = keras.Sequential([keras.Input((64,)), stack])
    >>> report = keras_share.export_tflite(model, "model.tflite")
    >>> [(b.shape, b.uses) for b in report.buffers if b.nbytes > 1000]
    [((64, 64), 4)]
    """
    check_backend("export_tflite")
    check_model(model)
    scheme = _scheme(model, quantization)
    ends = _check_ends(scheme, inference_input_type, inference_output_type)
    check_writable(path)
    if scheme == "int8" or representative_dataset is not None:
        # Read once: a generator function may not give the same samples again.
        dataset = list(samples(representative_dataset, model))
        checked = dataset[:_CHECKED_SAMPLES]
    else:
        dataset = None
        checked = [random_sample(model)]
    with full_precision():
        exported = inference_model(model)
    _check_finite(exported)
    data = dedupe(_convert(exported, scheme, dataset, ends))
    if scheme == "trained int16":
        data = fit_int16(data)
    if any(_bits(part) == 4 for part in sublayers(model)):
        data = dedupe(store_int4(data))
    data = pack(read(data))
    if ends != ("float32", "float32"):
        _check_integers(data)
    _compare(model, data, checked, scheme)
    write_atomically(path, data)
    report = audit(path)
    _warn_if_untied(exported, report)
    return report


def _check_finite(model: keras.Model) -> None:
    for variable in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
            raise ValueError(
                "Weights must be finite to be exported: go back to a checkpoint from "
                "before the loss was, or lower the learning rate. Received: NaN or "
                f"infinity in '{variable.path}'"
            )


def _warn_if_untied(model: keras.Model, report: Audit) -> None:
    """Warns of kernels that several sites use and the converter stored several times.

    By number of values, as the converter may transpose a kernel and drop its name.
    """
    graph = flatten(model, leaves=(QuantizeWeights,), inference=True)
    kernels = Counter(math.prod(v.shape) for v in model.weights if len(v.shape) > 1)
    # Masks and indices are no kernels.
    buffers = [b for b in report.buffers if b.dtype in _KERNEL_TYPES]
    stored = Counter(math.prod(b.shape) for b in buffers)
    for step in graph:
        if not is_shared_kernel(graph, step):
            continue
        layer = base_layer(step)
        size = math.prod(layer.kernel.shape)
        if stored[size] > kernels[size]:
            warnings.warn(
                f"The model has {kernels[size]} kernel(s) of {size:,} values, the file "
                f"{stored[size]}: the converter folded a product that differs from "
                f"site to site into the kernel of '{layer.name}'. The scale of a "
                "private normalization layer in its place is kept apart.",
                stacklevel=3,
            )
            return


def _scheme(model: keras.Model, quantization: str | None) -> str:
    parts = list(sublayers(model))
    bits = {part.num_bits for part in parts if isinstance(part, FakeQuantize)}
    trained = bits or any(isinstance(part, QuantizeWeights) for part in parts)
    if trained and quantization is not None:
        raise ValueError(
            "A model from quantize_model is exported as it was trained: leave "
            f"`quantization` None. Received: quantization={quantization!r}"
        )
    choices = ("float32", "float16", "dynamic", "int8")
    if quantization not in (None, *choices):
        raise ValueError(
            f"`quantization` must be one of {', '.join(choices)}, or None. "
            f"Received: quantization={quantization!r}"
        )
    if not trained:
        return quantization or "float32"
    return f"trained int{max(bits)}" if bits else "trained dynamic"


def _bits(layer: keras.Layer) -> int | None:
    return layer.num_bits if isinstance(layer, QuantizeWeights) else None


def _check_ends(scheme: str, *types: str) -> tuple[str, ...]:
    """The types of inputs and outputs, if a file of this kind can have them."""
    kind = scheme.removeprefix("trained ")
    whole = {"int8": ("int8", "uint8"), "int16": ("int16",)}.get(kind, ())
    for name, chosen in zip(("input", "output"), types, strict=True):
        if chosen not in ("float32", *whole):
            raise ValueError(
                f"`inference_{name}_type` must be one of "
                f"{', '.join(('float32', *whole))} for a file of the kind "
                f"'{scheme}'. Received: inference_{name}_type={chosen!r}"
            )
    return types


def _check_integers(data: bytes) -> None:
    left = audit(data).float_operators
    if left:
        raise ValueError(
            "Only a file that computes with integers throughout can have integers as "
            "inputs and outputs. These operators are in floating point, see "
            f"`quantization_report`: {left}"
        )


def _convert(
    model: keras.Model,
    scheme: str,
    dataset: list[list[np.ndarray]] | None,
    ends: tuple[str, ...],
) -> bytes:
    import tensorflow as tf

    def serve(*inputs):
        return model(keras.tree.pack_sequence_as(model.input, inputs), training=False)

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


def _compare(
    model: keras.Model, data: bytes, dataset: list[list[np.ndarray]], scheme: str
) -> None:
    """Runs the file against the model that the user passed, not its rebuilt form."""
    names = [x.name for x in model.inputs]
    largest: Counter[str] = Counter()
    furthest: Counter[str] = Counter()
    for sample in dataset:
        actual = predict(data, dict(zip(names, sample, strict=True)))
        structure = keras.tree.pack_sequence_as(input_structure(model), sample)
        expected = model(structure, training=False)
        if not isinstance(expected, dict):  # the file numbers outputs without a name
            expected = keras.tree.flatten(expected)
            expected = {f"output_{i}": y for i, y in enumerate(expected)}
        for name, output in expected.items():
            ours = keras.ops.convert_to_numpy(output).astype("float64")
            theirs = actual[name] if isinstance(actual, dict) else actual
            largest[name] = max(largest[name], np.abs(ours).max())
            # NaN compares as neither larger nor smaller.
            furthest[name] = np.maximum(furthest[name], np.abs(ours - theirs).max())
    half = any(part.compute_dtype != "float32" for part in sublayers(model))
    allowed = max(TOLERANCES[scheme], TOLERANCES["float16"] if half else 0)
    for name, difference in furthest.items():
        share = difference / max(largest[name], 1e-6)
        if not share <= allowed:
            raise ValueError(
                f"The file must compute what the model does. Its output '{name}' "
                f"differs by {share:.3g} of the largest value, more than the "
                f"{allowed} allowed for {scheme}; nothing was written. "
                "Quantized outputs this far off call for a representative_dataset of "
                "real samples, or for quantization-aware training."
            )
