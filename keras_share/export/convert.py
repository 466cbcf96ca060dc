"""`export_tflite`: from a Keras model to a checked `.tflite` file."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_share.atomic import check_writable, write_atomically
from keras_share.export.converter import convert, input_names, output_names
from keras_share.export.faithful import check_outputs
from keras_share.export.inference import inference_model
from keras_share.export.int4 import store_int4
from keras_share.export.int16 import fit_int16
from keras_share.export.metadata import describe, with_metadata
from keras_share.export.target import (
    INT4_KERNELS,
    QUANTIZATION,
    check_target,
    fit_target,
)
from keras_share.flat.flatten import check_model
from keras_share.flat.precision import full_precision
from keras_share.layers.sublayers import sublayers
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.quantize_weights import QuantizeWeights
from keras_share.quantize.representative import Representative, random_sample, samples
from keras_share.quantize.tfmot import check_backend
from keras_share.tflite.file.dedupe import dedupe
from keras_share.tflite.inspect.audit import Audit, audit

_CHECKED_SAMPLES = 4


def export_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    target: str = "auto",
    quantization: str | None = None,
    representative_dataset: Representative = None,
    inference_input_type: str = "float32",
    inference_output_type: str = "float32",
    dynamic_batch: bool = False,
    metadata: Mapping[str, Any] | None = None,
    strict: bool = True,
) -> Audit:
    """Exports a model to a `.tflite` file in which shared weights stay shared.

    What the converter would fold into one kernel per site (a private
    BatchNormalization beside a tied kernel) is written so that it can't be. For CPUs
    the sites that share become calls of one subgraph (`roll`), so that the weights are
    in memory once, too. The file is run in the LiteRT interpreter and compared with
    the Keras model before it is written, first to a temporary name.

    Args:
        model: A built Sequential or Functional model, or one from `quantize_model`.
        path: Where to write the file.
        target: What the file is for. `"cpu"`: phones; rolled throughout, and of dynamic
            range unless `quantization` says otherwise. `"micro"`: TensorFlow Lite
            Micro; integers throughout (`"int8"`) unless `quantization` says
            otherwise, run there to measure the arena, and rolled where that makes the
            file smaller and the arena no larger. `"accelerator"`: GPUs and NPUs; no
            control flow, each weight stored once. `"auto"`: rolled where the kernels
            of a call are large enough to gain from it.
        quantization: `"float32"` (the default but for `"cpu"` and `"micro"`),
            `"float16"` (weights in half precision), `"dynamic"` (int8 weights, float
            activations: for phones), or `"int8"` (weights and activations, with
            ranges from `representative_dataset`: for microcontrollers and
            accelerators). A model from `quantize_model` is exported as it was
            trained; leave it None.
        representative_dataset: Samples, as arrays in the structure of the model's
            inputs or a function that yields samples with a batch axis. Needed for
            `"int8"`; if given, the file is also compared with the model on them
            instead of on random numbers.
        inference_input_type: `"float32"`, or the integers that the file takes in place
            of floating-point inputs: `"int8"` (`"int16"` for a model of that scheme).
            `predict_tflite` rounds to them. Inputs of integers stay as they are.
        inference_output_type: Likewise, of the outputs.
        dynamic_batch: Whether the batch size is left to the interpreter; else it is 1.
            This has its cost: with a free batch size the converter can't make integers
            of `Dense` layers on sequences, and the runtime plans its memory anew when
            the size changes.
        metadata: What the file shall say of itself, such as `{"labels": [...],
            "version": "1.0"}`. It goes with the name of the model, its patterns of
            sharing and how it was quantized into a JSON entry called `keras_share`,
            see `Audit.metadata`.
        strict: Whether a weight that sites share but the file stores several times is
            an error. False makes it a warning.

    Returns:
        The `Audit` of the file.

    Raises:
        ValueError: If the model is not built or not walkable, an argument is unknown
            or missing, the samples don't fit, the file's outputs differ from the
            model's, a shared weight is stored several times, or the file can't run on
            its target.
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
    check_target(target)
    scheme = _scheme(model, quantization, target)
    ends = _check_ends(scheme, inference_input_type, inference_output_type)
    facts = describe(model, scheme, target, metadata)
    check_writable(path)
    if scheme == "int8" or representative_dataset is not None:
        # Read once: a generator function may not give the same samples again.
        dataset = list(samples(representative_dataset, model))
        checked = dataset[:_CHECKED_SAMPLES]
    else:
        dataset = None
        checked = [random_sample(model) for _ in range(2 if dynamic_batch else 1)]
    with full_precision():
        exported = inference_model(model, None if dynamic_batch else 1)
    _check_finite(exported)
    takes, gives = input_names(model), output_names(model, exported.output)
    data = dedupe(convert(exported, scheme, dataset, ends, takes, gives)).data
    if scheme == "trained int16":
        data = fit_int16(data)
    if any(_bits(part) == 4 for part in sublayers(model)):
        data = dedupe(store_int4(data, INT4_KERNELS.get(target))).data
    if ends != ("float32", "float32"):
        _check_integers(data)
    sample = dict(zip(takes, checked[0], strict=True))
    data, found = fit_target(data, target, scheme, sample)
    data = with_metadata(data, {**facts, **found})
    check_outputs(model, data, checked, scheme, takes, gives)
    report = replace(audit(data, model), path=os.fspath(path))
    _check_tied(report, strict)
    write_atomically(path, data)
    return report


def _check_finite(model: keras.Model) -> None:
    for variable in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
            raise ValueError(
                "Weights must be finite to be exported: go back to a checkpoint from "
                "before the loss was, or lower the learning rate. Received: NaN or "
                f"infinity in '{variable.path}'"
            )


def _check_tied(report: Audit, strict: bool) -> None:
    if not report.untied:
        return
    complaint = report.complaint()
    if strict:
        raise ValueError(
            "A weight that sites share must be stored once; nothing was written. "
            f"{complaint} Pass strict=False to write the file anyhow."
        )
    warnings.warn(complaint, stacklevel=3)


def _scheme(model: keras.Model, quantization: str | None, target: str) -> str:
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
        return quantization or QUANTIZATION.get(target, "float32")
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
