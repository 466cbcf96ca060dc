"""`quantize_model`: quantization-aware training of Keras 3 models with tied weights."""

import warnings
from collections.abc import Sequence, Set

import keras

from keras_share.flat.built_model import check_model
from keras_share.flat.flat_graph import FlatGraph
from keras_share.flat.names import output_names
from keras_share.flat.precision import full_precision
from keras_share.layers.sublayers import sublayers
from keras_share.layers.tied_cloner import warn_of_lost_methods
from keras_share.layers.transposed import Transposed
from keras_share.quantize.builder import Builder
from keras_share.quantize.calibration import calibrate
from keras_share.quantize.drowned import warn_of_drowned
from keras_share.quantize.opening import open_and_place
from keras_share.quantize.quantization import (
    TRAINED,
    find_quantization,
    quantization_of,
)
from keras_share.quantize.quantized_model import QuantizedModel, patterns_of
from keras_share.quantize.ranges import find_ranges, read_apart
from keras_share.quantize.report import LayerReport, report_of
from keras_share.quantize.representative import (
    Representative,
    has_open_sizes,
    samples,
    warn_of_sizes,
)
from keras_share.quantize.selection import Selection
from keras_share.quantize.tfmot import check_backend


def quantize_model(
    model: keras.Model,
    representative_dataset: Representative = None,
    *,
    quantization: str = "int8",
    ranges: str = "site",
    quantize: Sequence[keras.Layer | str] | None = None,
    skip: Sequence[keras.Layer | str] = (),
    strict: bool = False,
    scheme: str | None = None,
) -> keras.Model:
    """Prepares a model for quantization-aware training, or quantizes it as it is.

    Returns a new Functional model with copies of the weights and the same names of
    layers, inputs and outputs, in which every kernel
    is rounded to integers before use, and activations too. A kernel has one quantizer
    whatever the number of its uses, and every use of a layer has activation ranges of
    its own. Train it with `compile` and `fit` or a loop of your own, save it as any
    model, and export it with `export_tflite`.

    The arithmetic is TensorFlow Model Optimization's quantizers'. Its own
    `quantize_model` refuses Keras 3 models and gives tied layers one range for all
    uses (TFMOT issues 1119 and 994).

    Composite layers, nested models, `Tied` and `SharedStack` are opened, and what
    TFLite has no integer operator for (LayerNormalization, attention) is written with
    what has one. The table in `docs/quantization.md` tells how each layer is computed;
    `register_rule` adds layers of your own. Other layers stay in floating point and
    are named in a warning; see `quantization_report`.

    The new model computes in float32, whatever the dtype policy of the old one. A
    composite layer that runs other operations in training than at inference, or uses
    weights outside of the layers that own them, stays closed and in floating point.
    Of a class of models with a `train_step` or a `compute_loss` of its own a warning
    tells that they are left behind.

    Args:
        model: A built Sequential or Functional model, trained or not.
        representative_dataset: Samples to set the activation ranges from, as arrays
            in the structure of the model's inputs or a function that yields samples
            with a batch axis. Without it, ranges start at [-6, 6] as in TFMOT and
            follow the training data slowly; with it, the model can be exported as it
            is (calibration without training). Where the model leaves sizes open that
            an integer operator must know (the length before an `LSTM`), the new model
            has those of the first sample, and a warning says so.
        quantization: `"int8"` (weights with a range per output channel, activations
            with one per tensor), `"int16"` (int8 weights, int16 activations),
            `"int4"` (4-bit weights, int8 activations), `"dynamic"` (int8 weights,
            activations in floating point) or `"dynamic_int4"`.
        ranges: `"site"`: each use of a shared layer has activation ranges of its own.
            `"group"`: the sites that share a block share its ranges, too, which a
            block that is stored once and run in a loop needs.
        quantize: Layers to quantize, or names of layers, with all that is in them, or
            of operations, as `quantization_report` has them. None for all.
        skip: What to leave in floating point, likewise.
        strict: Whether to raise an error if a layer that isn't skipped has no rule.
        scheme: The former name of `quantization`; deprecated.

    Returns:
        A Functional Keras model, not compiled.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model, the
            dataset doesn't fit it, an argument is unknown, or `strict` and a layer has
            no rule.
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
    if scheme is not None:
        warnings.warn(
            "`scheme` is called `quantization` now.", DeprecationWarning, stacklevel=2
        )
        quantization = scheme
    quantization = find_quantization(quantization, TRAINED)
    if ranges not in ("site", "group"):
        raise ValueError(
            f"`ranges` must be 'site' or 'group'. Received: ranges={ranges!r}"
        )
    check_model(model)
    if quantization_of(model) is not None:
        raise ValueError(
            f"The model '{model.name}' is quantized already. Pass the float model."
        )
    _check_lora(model)
    selection = Selection(model, quantize, skip)

    def opened(shapes: Sequence | None = None) -> tuple:
        found = open_and_place(model, quantization.activations, selection, shapes)
        report = report_of(*found, quantization)
        return *found, [row for row in report.float_layers if not row.skipped]

    graph, placements, left = opened()
    rows: list = []
    if representative_dataset is not None:
        # Read once: a generator function may not give the same samples again.
        rows = list(samples(representative_dataset, model))
    if left and rows and has_open_sizes(model):
        shapes = [x.shape for x in rows[0]]
        *sized, fewer = opened(shapes)
        if len(fewer) < len(left):
            [graph, placements], left = sized, fewer
            rows = [row for row in rows if [x.shape for x in row] == shapes]
            warn_of_sizes("quantized model", model, shapes, stacklevel=3)
    _warn(left, strict)
    _warn_of_parted(graph)

    def built(apart: Set[keras.KerasTensor]) -> tuple[QuantizedModel, Builder]:
        tensors = find_ranges(graph, placements, ranges == "group", apart)
        builder = Builder(graph, placements, tensors, quantization)
        with full_precision():
            found = builder.build()
            quantized = QuantizedModel(
                found.input,
                found.output,
                model.name,
                patterns=patterns_of(model),
                output_names=output_names(model),
            )
        if calibrated:
            calibrate(quantized, lambda: rows)
        return quantized, builder

    calibrated = bool(rows) and quantization.activations is not None
    apart = read_apart(graph, placements) if calibrated else set()
    quantized, builder = built(apart)
    if (finer := builder.finer(apart)) != apart:
        quantized, _ = built(finer)
    if rows:
        warn_of_drowned(model, quantized, lambda: rows)
    warn_of_lost_methods(model, quantized)
    return quantized


def _check_lora(model: keras.Model) -> None:
    for layer in sublayers(model):
        if getattr(layer, "lora_enabled", False):
            raise ValueError(
                "A kernel must be one variable to be quantized. Received: the layer "
                f"'{layer.name}', to whose kernel LoRA adds two more. Merge them: "
                "`model.save_weights(path)` writes the sum, and a model made without "
                "`enable_lora` reads it with `load_weights(path)`."
            )


def _warn_of_parted(graph: FlatGraph) -> None:
    """Warns of weights that layers have in common without being tied."""
    holders: dict[int, dict[keras.Operation, str]] = {}
    paths: dict[int, str] = {}
    for step in graph.all_steps:
        inside = step.body is not None or isinstance(step.op, Transposed)
        for weight in [] if inside else step.weights:
            holders.setdefault(id(weight), {})[step.op] = step.name
            paths[id(weight)] = weight.path
    for key, names in holders.items():
        if len(names) > 1:
            warnings.warn(
                f"The weight '{paths[key]}' is one for each of {list(names.values())} "
                "in the quantized model, and these part when it is trained. Call one "
                "layer in all places, or tie them with `Tied` or `Transposed`.",
                stacklevel=3,
            )


def _warn(left: list[LayerReport], strict: bool) -> None:
    if not left:
        return
    names = "; ".join(f"'{row.name}' ({row.kind}): {row.reason}" for row in left)
    if strict:
        raise ValueError(
            "With strict=True every layer needs a rule. Give these one with "
            f"`register_rule`, or name them in `skip`: {names}"
        )
    warnings.warn(f"Parts of the model stay in floating point: {names}.", stacklevel=3)
