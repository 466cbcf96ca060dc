"""Whether a file computes what the Keras model does."""

import itertools
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_share.export.ends import Ends
from keras_share.flat.built_model import input_structure
from keras_share.layers.recurrent import traced_once
from keras_share.layers.sublayers import sublayers
from keras_share.quantize.quantization import Quantization
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.signatures import signatures
from keras_share.tflite.runtimes.agreement import Agreement, agreement_of
from keras_share.tflite.runtimes.apart import RunError, run_apart
from keras_share.tflite.runtimes.failing import failing_operator
from keras_share.tflite.runtimes.samples import End, end_of

# The least ratio of signal to noise, in decibels, by what the file is quantized to: of
# a float model, and of one that computes the same integers as its file.
LEAST_RATIO = {
    Quantization.FLOAT32: 80.0,
    Quantization.FLOAT16: 46.0,
    Quantization.DYNAMIC: 20.0,
    Quantization.INT8: 10.0,
}
LEAST_RATIO_AWARE = {
    Quantization.INT8: 20.0,
    Quantization.INT16: 30.0,
    Quantization.INT4: 20.0,
    Quantization.DYNAMIC: 30.0,
    Quantization.DYNAMIC_INT4: 30.0,
}
# What few steps of an output's integers explain is no fault, however small the signal.
_STEPS = 2.01
_SECONDS, _AT_ONCE = 5.0, 32
_AS_FAR = 3.0  # decibels: two that are as far from a third as from each other


def check_outputs(
    model: keras.Model,
    data: bytes,
    dataset: Sequence[list[np.ndarray]],
    quantization: Quantization,
    aware: bool,
    ends: Ends,
    rounded: keras.Model | None = None,
) -> tuple[Agreement, ...]:
    """Runs the file against the model that the user passed, not its rebuilt form.

    On as many samples as there is time for in some seconds, at least a few.

    There are networks, such as deep ones that nobody trained, of which rounding drowns
    the outputs. A file that is right is far from the float model then, and LiteRT's own
    kernels are from each other: a warning tells it in place of an error.

    Args:
        model: The user's model.
        data: The bytes of the file.
        dataset: Samples of batch size 1.
        quantization: How the file is quantized.
        aware: Whether the model is, too.
        ends: The file's inputs and outputs.
        rounded: What `quantize_model` made of a float model for the file.

    Returns:
        How far each output is from the model's.

    Raises:
        ValueError: If an output differs by more than the quantization explains, or
            LiteRT can't run the file.
    """
    parsed = flatbuffer.read(data)
    [(_, graph, takes, gives)] = signatures(parsed)
    steps = [_step(parsed, graph, index) for index in gives.values()]
    inputs, outputs = (
        [end_of(name, graph.tensors[i]) for name, i in part.items()]
        for part in (takes, gives)
    )
    free = all(
        x.shapeSignature is not None and x.shapeSignature[0] < 0
        for x in (graph.tensors[i] for i in takes.values())
    )
    end = time.monotonic() + _SECONDS
    batches, expected, actual = [], [], []
    with tempfile.TemporaryDirectory() as folder, traced_once(model):
        path = Path(folder, "model.tflite")
        path.write_bytes(data)
        for rows in _batches(model, dataset):
            calls = _calls(rows, inputs, free)
            try:
                actual += _run("interpreter", path, calls, outputs)
            except RunError as error:
                place = failing_operator(data, "interpreter", calls[0])
                raise ValueError(
                    f"LiteRT must be able to run the file. Received: {error}{place}. "
                    "Nothing was written."
                ) from error
            expected.append(_predict(model, rows))
            batches.append(calls)
            if time.monotonic() > end:
                break
        agreements = _compared(ends, expected, actual, steps)
        least = (LEAST_RATIO_AWARE if aware else LEAST_RATIO)[quantization]
        if any(part.compute_dtype != "float32" for part in sublayers(model)):
            least = min(least, LEAST_RATIO[Quantization.FLOAT16])
        poor = [i for i, found in enumerate(agreements) if not _is_near(found, least)]
        if not poor:
            return agreements
        if rounded is not None:
            # Raises if that is not what the file computes.
            check_outputs(rounded, data, dataset, quantization, True, ends)
            _warn(agreements[poor[0]], "the quantized model is so, too")
            return agreements
        others = []
        if quantization.activations is not None:
            others = _by_reference(path, batches, outputs)
    if others:
        apart = _compared(ends, actual, others, steps)
        agrees = _compared(ends, expected, others, steps)
    for i in poor:
        found = agreements[i]
        if (
            not others
            or _is_near(agrees[i], least)
            or found.ratio < apart[i].ratio - _AS_FAR
        ):
            raise ValueError(
                f"The file must compute what the model does. Its output '{found.name}' "
                f"differs: {found}, less than the {least:g} dB that {quantization} "
                "asks for; nothing was written."
            )
        _warn(found, f"LiteRT's own kernels are {apart[i].ratio:.1f} dB apart")
    return agreements


def _compared(
    ends: Ends, ours: list, theirs: list, steps: list[float | None]
) -> tuple[Agreement, ...]:
    """How far outputs are apart, each given for some samples at once."""
    pairs = [
        [np.concatenate(parts) for parts in zip(*rows, strict=True)]
        for rows in (ours, theirs)
    ]
    return tuple(map(agreement_of, ends.outputs, *pairs, steps))


def _is_near(found: Agreement, least: float) -> bool:
    few = found.steps is not None and found.steps <= _STEPS
    return few or found.ratio >= least  # NaN is not


def _warn(found: Agreement, why: str) -> None:
    warnings.warn(
        f"Rounding drowns the output '{found.name}': {found}; {why}. So it is with "
        "many deep networks before they are trained. If this one is trained, train it "
        "on with rounding (`quantize_model`, then `fit`), or give `quantize_model` "
        "quantization='int16' or 'dynamic'.",
        stacklevel=4,
    )


def _batches(
    model: keras.Model, dataset: Sequence[list[np.ndarray]]
) -> Iterator[list[list[np.ndarray]]]:
    """The samples in parts of one shape, as many at once as the model takes."""
    free = all(x.shape[0] is None for x in model.inputs)
    size = _AT_ONCE if free else 1
    for _, same in itertools.groupby(dataset, lambda row: [x.shape for x in row]):
        while rows := list(itertools.islice(same, size)):
            yield rows


def _predict(model: keras.Model, rows: list[list[np.ndarray]]) -> list[np.ndarray]:
    columns = list(map(np.concatenate, zip(*rows, strict=True)))
    inputs = keras.tree.pack_sequence_as(input_structure(model), columns)
    outputs = keras.tree.flatten(model(inputs, training=False))
    return list(map(keras.ops.convert_to_numpy, outputs))


def _calls(
    rows: list[list[np.ndarray]], takes: list[End], free: bool
) -> list[dict[str, np.ndarray]]:
    if free:
        rows = [list(map(np.concatenate, zip(*rows, strict=True)))]
    return [
        {end.name: end.stored(x) for end, x in zip(takes, row, strict=True)}
        for row in rows
    ]


def _run(
    mode: str, path: Path, calls: list[dict[str, np.ndarray]], gives: list[End]
) -> list[list[np.ndarray]]:
    found = run_apart("run_rows", mode, str(path), calls, timeout=600.0, fresh=False)
    return [[end.real(row[end.name]) for end in gives] for row in found]


def _by_reference(
    path: Path, batches: list[list[dict[str, np.ndarray]]], gives: list[End]
) -> list[list[np.ndarray]]:
    """The outputs of LiteRT's reference kernels; none if an operator has no such."""
    try:
        runs = [_run("reference", path, calls, gives) for calls in batches]
    except RunError:
        return []
    return [row for run in runs for row in run]


def _step(
    model: flatbuffer.schema.ModelT, graph: flatbuffer.schema.SubGraphT, index: int
) -> float | None:
    """The step of an output's integers, also where it returns what they stand for."""
    for op in graph.operators:
        if int(op.outputs[0]) == index:
            if flatbuffer.operator_name(model, op) == "DEQUANTIZE":
                index = int(op.inputs[0])
            break
    quantization = graph.tensors[index].quantization
    scale = None if quantization is None else quantization.scale
    return float(scale[0]) if scale is not None and np.size(scale) == 1 else None
