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
from keras_share.tflite.runtimes.samples import end_of

Call = dict[str, np.ndarray]

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
# Of a model that computes in half precision.
_LEAST_IN = {"float16": LEAST_RATIO[Quantization.FLOAT16], "bfloat16": 28.0}
# What few steps of an output's integers explain is no fault, however small the signal.
_STEPS = 2.01
_ALIKE = 40.0
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
    least = (LEAST_RATIO_AWARE if aware else LEAST_RATIO)[quantization]
    computed = {part.compute_dtype for part in sublayers(model)}
    least = min([least, *(_LEAST_IN[x] for x in computed if x in _LEAST_IN)])
    with tempfile.TemporaryDirectory() as folder:
        file = _File(data, Path(folder, "model.tflite"))
        batches, expected, actual = _side_by_side(model, file, dataset)
        agreements = _compared(ends, expected, actual, file.steps)
        if not all(found.ratio > _ALIKE for found in agreements):
            _check_alone(model, [dataset[0], dataset[-1]])
        poor = [i for i, found in enumerate(agreements) if not _is_near(found, least)]
        if poor and rounded is not None:
            # Raises if that is not what the file computes.
            check_outputs(rounded, data, dataset, quantization, True, ends)
            _warn(agreements[poor[0]], "the quantized model is so, too")
            return agreements
        integers = quantization.activations is not None
        others = file.run_by_reference(batches) if poor and integers else []
    if others:
        apart = _compared(ends, actual, others, file.steps)
        agrees = _compared(ends, expected, others, file.steps)
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


class _File:
    """A file that is run beside a model.

    Attributes:
        steps: The step of each output's integers; None of one that has none.
    """

    def __init__(self, data: bytes, path: Path):
        self._data, self._path = data, path
        path.write_bytes(data)
        model = flatbuffer.read(data)
        [(_, graph, takes, gives)] = signatures(model)
        self.steps = [_step(model, graph, index) for index in gives.values()]
        self._inputs, self._outputs = (
            [end_of(name, graph.tensors[i]) for name, i in part.items()]
            for part in (takes, gives)
        )
        shapes = [graph.tensors[i].shapeSignature for i in takes.values()]
        self._free = all(shape is not None and shape[0] < 0 for shape in shapes)

    def calls(self, rows: list[list[np.ndarray]]) -> list[Call]:
        """What it is called with for samples, one by one or all at once."""
        if self._free:
            rows = [list(map(np.concatenate, zip(*rows, strict=True)))]
        return [
            {end.name: end.stored(x) for end, x in zip(self._inputs, row, strict=True)}
            for row in rows
        ]

    def run(self, calls: list[Call]) -> list[list[np.ndarray]]:
        """Its outputs by the kernels that phones run.

        Raises:
            ValueError: If LiteRT can't run it.
        """
        try:
            return self._run("interpreter", calls)
        except RunError as error:
            place = failing_operator(self._data, "interpreter", calls[0])
            raise ValueError(
                f"LiteRT must be able to run the file. Received: {error}{place}. "
                "Nothing was written."
            ) from error

    def run_by_reference(self, batches: list[list[Call]]) -> list[list[np.ndarray]]:
        """Those of LiteRT's reference kernels; none if an operator has no such."""
        try:
            return [row for calls in batches for row in self._run("reference", calls)]
        except RunError:
            return []

    def _run(self, mode: str, calls: list[Call]) -> list[list[np.ndarray]]:
        rows = run_apart(
            "run_rows", mode, str(self._path), calls, timeout=600.0, fresh=False
        )
        return [[end.real(row[end.name]) for end in self._outputs] for row in rows]


def _side_by_side(
    model: keras.Model, file: _File, dataset: Sequence[list[np.ndarray]]
) -> tuple[list[list[Call]], list, list]:
    """Calls of the file in parts, and what the model and the file make of each."""
    end = time.monotonic() + _SECONDS
    batches, expected, actual = [], [], []
    with traced_once(model):
        for rows in _batches(model, dataset):
            batches.append(file.calls(rows))
            actual += file.run(batches[-1])
            expected.append(_predict(model, rows))
            if time.monotonic() > end:
                break
    return batches, expected, actual


def _compared(
    ends: Ends, ours: list, theirs: list, steps: list[float | None]
) -> tuple[Agreement, ...]:
    """How far outputs are apart, each given for some samples at once."""
    pairs = [
        [np.concatenate(list(map(np.atleast_1d, x))) for x in zip(*rows, strict=True)]
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


def _check_alone(model: keras.Model, rows: list[list[np.ndarray]]) -> None:
    """Raises an error that says so if a model mixes the samples of a batch."""
    shapes = [[x.shape for x in row] for row in rows]
    if shapes[0] != shapes[1] or any(x.shape[0] is not None for x in model.inputs):
        return
    for one, both in zip(_predict(model, rows[:1]), _predict(model, rows), strict=True):
        if both.shape[:1] != (2,) or not np.allclose(
            both[:1], one, rtol=1e-3, atol=1e-4
        ):
            raise ValueError(
                "Each sample must be computed alone, as the file takes one at a time. "
                f"Received: the model '{model.name}', which mixes those of a batch; "
                "`ops.concatenate` and others do along axis 0, which is their default."
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
