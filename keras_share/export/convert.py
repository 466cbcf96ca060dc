"""`export_tflite`: from a Keras model to a checked `.tflite` file."""

import os
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_share.atomic import check_writable, write_atomically
from keras_share.export.conversion_error import check_operators
from keras_share.export.converter import convert
from keras_share.export.decisions import check_decisions
from keras_share.export.elsewhere import export_elsewhere
from keras_share.export.ends import (
    Ends,
    check_types,
    output_names,
    put_in_order,
)
from keras_share.export.faithful import check_outputs
from keras_share.export.float_kernels import keep_kernels
from keras_share.export.float_parts import drop_edges, keep_float
from keras_share.export.inner_states import check_form, with_inner_states
from keras_share.export.int4 import RUNS, store_int4
from keras_share.export.int16 import fit_int16
from keras_share.export.metadata import describe
from keras_share.export.small_scales import widen_scales
from keras_share.export.sums import sum_exactly
from keras_share.export.target import (
    INT4_KERNELS,
    QUANTIZATION,
    check_integers,
    check_target,
    pack_for,
)
from keras_share.export.ways import first_that_works
from keras_share.flat.built_model import check_numbers
from keras_share.flat.flatten import flatten
from keras_share.flat.names import input_names
from keras_share.flat.states import states_of
from keras_share.layers.sublayers import sublayers
from keras_share.quantize.look_up import LookUp
from keras_share.quantize.model import quantize_model
from keras_share.quantize.quantization import (
    CONVERTED,
    TRAINED,
    Quantization,
    find_quantization,
    quantization_of,
)
from keras_share.quantize.representative import Representative, random_sample, samples
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.dedupe import share_buffers
from keras_share.tflite.file.loops import carry_integers
from keras_share.tflite.file.states import carry_states
from keras_share.tflite.inspect.audit import Audit, audit
from keras_share.tflite.runtimes.apart import check_timeout


def export_tflite(  # noqa: PLR0915 (a list, top to bottom)
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
    state: str = "external",
    timeout: float = 600.0,
) -> Audit:
    """Exports a model to a `.tflite` file in which shared weights stay shared.

    What the converter would fold into one kernel per site (a private
    BatchNormalization beside a tied kernel) is written so that it can't be. For CPUs
    the sites that share become calls of one subgraph (`roll`), so that the weights are
    in memory once, too. The file is run in the LiteRT interpreter and compared with
    the Keras model before it is written, first to a temporary name.

    What can't be exported so is exported as Keras's own `model.export` does, and a
    warning tells what is lost. Where Keras runs on JAX or PyTorch the model is saved,
    and exported by TensorFlow in a process of its own.

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
            activations: for phones), or `"int8"` (weights and activations: what
            `quantize_model` makes of the model and `representative_dataset`, for
            microcontrollers and accelerators). A model from `quantize_model` is
            exported as it was trained; leave it None.
        representative_dataset: Samples, as arrays in the structure of the model's
            inputs or a function that yields samples with a batch axis. Needed for
            `"int8"`; if given, the file is also compared with the model on them
            instead of on random numbers.
        inference_input_type: `"float32"`, or the integers that the file takes in place
            of floating-point inputs: `"int8"` (`"int16"` for a model quantized so).
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
        state: How a file of one step (`keras_share.streaming`) gets its states.
            `"external"`: as inputs, which it returns anew as outputs of the same names,
            as integers of the same scale. `"internal"`: it keeps them as variables from
            call to call, and begins with zeros.
        timeout: Seconds that the comparison of a rolled file with the unrolled one may
            take, on LiteRT's reference kernels.

    Returns:
        The `Audit` of the file.

    Raises:
        ValueError: If the model is not built or not walkable, an argument is unknown
            or missing, the samples don't fit, the file's outputs differ from the
            model's, a shared weight is stored several times, or the file can't run on
            its target.
        OSError: If the folder doesn't exist or can't be written; told before the
            conversion.
        RuntimeError: If a rolled file computes something else than the unrolled one.

    Example:
    >>> import keras, keras_share
    >>> stack = keras_share.SharedStack(keras.layers.Dense(64, "relu"), "AAAA")
    >>> model = keras.Sequential([keras.Input((64,)), stack])
    >>> report = keras_share.export_tflite(model, "model.tflite")
    >>> [(b.shape, b.uses) for b in report.buffers if b.nbytes > 1000]
    [((64, 64), 4)]
    """
    check_numbers(model)
    _check_layers(model)
    check_target(target)
    check_timeout(timeout)
    check_form(state, states := states_of(model), dynamic_batch)
    if keras.backend.backend() != "tensorflow":
        check_writable(path)
        given = representative_dataset
        return export_elsewhere(
            model,
            path,
            None if given is None else list(samples(given, model)),
            {
                "target": target,
                "quantization": quantization,
                "inference_input_type": inference_input_type,
                "inference_output_type": inference_output_type,
                "dynamic_batch": dynamic_batch,
                "metadata": metadata,
                "strict": strict,
                "state": state,
                "timeout": timeout,
            },
        )
    aware = quantization_of(model) is not None
    quantization = _quantization(model, quantization, target)
    check_types(types := (inference_input_type, inference_output_type), quantization)
    facts = describe(model, quantization, aware, target, metadata)
    check_writable(path)
    calibrates = quantization is Quantization.INT8 and not aware
    if calibrates or representative_dataset is not None:
        # Read once: a generator function may not give the same samples again.
        checked = dataset = list(samples(representative_dataset, model))
    else:
        checked = [random_sample(model) for _ in range(2 if dynamic_batch else 1)]

    rounded = quantize_model(model, lambda: dataset) if calibrates else model
    names, batch_size = input_names(model), None if dynamic_batch else 1

    def attempt(exported: keras.Model, rows: list[list[np.ndarray]]) -> tuple:
        """The bytes of the file and how far its outputs are from the model's."""
        _check_finite(exported)
        ends = Ends(names, output_names(model, exported.output), types)
        file = flatbuffer.read(convert(exported, quantization, ends))
        put_in_order(file, ends)
        carry_integers(file)
        if quantization_of(rounded):
            keep_kernels(file, exported)
        if quantization_of(rounded) and quantization.activations is not None:
            check_decisions(file, exported)
            keep_float(file, _look_ups(exported))
            sum_exactly(file)
        else:
            drop_edges(file)
        carry_states(file, states)
        check_operators(file, exported)
        if quantization.activations == 8:
            widen_scales(file)
        share_buffers(file)
        if quantization.activations == 16:
            fit_int16(file)
        if quantization.weights == 4:
            store_int4(file, INT4_KERNELS.get(target, RUNS))
            share_buffers(file)
        check_integers(file, target, quantization, ends)
        sample = dict(zip(ends.inputs, rows[0], strict=True))
        data = pack_for(target, file, facts, sample, timeout)
        agreement = check_outputs(
            model,
            data,
            rows,
            quantization,
            aware,
            ends,
            rounded if calibrates else None,
        )
        if state == "internal":
            named = [dict(zip(ends.inputs, row, strict=True)) for row in rows]
            data = with_inner_states(data, states, named, facts, target, timeout)
        return data, agreement

    data, agreement = first_that_works(
        attempt,
        rounded,
        batch_size,
        checked,
        given=representative_dataset is not None,
    )
    report = replace(audit(data, model), path=os.fspath(path), agreement=agreement)
    _check_tied(report, model, strict)
    write_atomically(path, data)
    return report


def _look_ups(model: keras.Model) -> list[LookUp]:
    return [part for part in sublayers(model) if isinstance(part, LookUp)]


def _quantization(model: keras.Model, asked: str | None, target: str) -> Quantization:
    trained = quantization_of(model)
    if asked is None:
        return trained or QUANTIZATION.get(target, Quantization.FLOAT32)
    if trained:
        raise ValueError(
            "A model from quantize_model is exported as it was trained: leave "
            f"`quantization` None. Received: quantization={asked!r}"
        )
    if asked in TRAINED and asked not in CONVERTED:
        raise ValueError(
            f"`quantization` must be one of {', '.join(CONVERTED)} for a float model. "
            f"Received: quantization={asked!r}. Quantize it first and export that: "
            f"`quantize_model(model, samples, quantization={asked!r})`."
        )
    return find_quantization(asked, CONVERTED)


def _check_layers(model: keras.Model) -> None:
    for layer in sublayers(model):
        if isinstance(layer, keras.layers.Layer) and getattr(layer, "stateful", False):
            raise ValueError(
                "A file begins each call with the same states. Received: the layer "
                f"'{layer.name}', which keeps its own from batch to batch. Build it "
                "with stateful=False; `keras_share.streaming` then makes a model of "
                "one step, which takes its states and returns them."
            )


def _check_finite(model: keras.Model) -> None:
    for variable in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
            raise ValueError(
                "Weights must be finite to be exported: go back to a checkpoint from "
                "before the loss was, or lower the learning rate. Received: NaN or "
                f"infinity in '{variable.path}'"
            )


def _check_tied(report: Audit, model: keras.Model, strict: bool) -> None:
    complaint = report.complaint()
    if not report.untied or complaint is None:
        return
    uses = _uses(model)
    if strict and any(uses[kernel.variable] != 1 for kernel in report.untied):
        raise ValueError(
            "A weight that sites share must be stored once; nothing was written. "
            f"{complaint} Pass strict=False to write the file anyhow."
        )
    warnings.warn(complaint, stacklevel=3)


def _uses(model: keras.Model) -> Counter[str]:
    """How many steps read each weight; empty if the steps can't be told.

    What one alone reads no sites share: a kernel that a layer computes with in two ways
    is stored twice by Keras's own export, too.
    """
    try:
        graph = flatten(model)
    except Exception:  # the model was converted as it is, and a warning has said why
        return Counter()
    return Counter(v.path for step in graph for v in getattr(step.op, "weights", ()))
