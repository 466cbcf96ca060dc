"""Inputs to try a `.tflite` model on, and how far its outputs are from others."""

import math
from dataclasses import dataclass

import numpy as np

from keras_share.tflite.file.flatbuffer import dtype_name, schema
from keras_share.tflite.file.signatures import signatures
from keras_share.tflite.file.stored import shape_of

# A signature's key, its inputs by name, and the place of each of its outputs.
Call = tuple[str | None, dict[str, np.ndarray], dict[str, int]]
Outputs = list[dict[str, np.ndarray]]

MOST = 200.0  # decibels
_LARGEST = 2**27  # numbers of an input: 1 GiB while they are drawn


@dataclass(frozen=True)
class Agreement:
    """How far an output of a file is from the model's, over all samples.

    Attributes:
        name: Of the output.
        ratio: The signal, which are the model's numbers, to the noise, which are the
            differences, in decibels; at most `MOST`, which equal outputs have.
        largest: The largest difference.
        steps: The same in steps of the integers that the output is rounded to, or None.
        samples: How many samples were compared.
    """

    name: str
    ratio: float
    largest: float
    steps: float | None
    samples: int

    def __str__(self) -> str:
        steps = "" if self.steps is None else f" ({self.steps:.3g} steps)"
        return (
            f"{self.ratio:.1f} dB of signal to noise, at most {self.largest:.3g}"
            f"{steps} off, of {self.samples} sample{'s' * (self.samples > 1)}"
        )


def agreement_of(
    name: str, right: np.ndarray, other: np.ndarray, step: float | None = None
) -> Agreement:
    """Compares an output with what it should be, samples along the first axis.

    NaN and infinities count as equal to themselves, and as infinitely far from others.

    Example:
    >>> print(agreement_of("y", np.array([1.0, -4.0]), np.array([1.0, -4.1]), 0.05))
    32.3 dB of signal to noise, at most 0.1 (2 steps) off, of 2 samples
    """
    signal, found = right.astype("float64"), other.astype("float64")
    same = (signal == found) | (np.isnan(signal) & np.isnan(found))
    with np.errstate(invalid="ignore"):
        off = np.where(same, 0.0, np.abs(signal - found))
    off = np.where(np.isnan(off), np.inf, off)
    largest, noise = float(off.max(initial=0)), float(np.sum(off**2))
    power = float(np.sum(signal[np.isfinite(signal)] ** 2))
    ratio = MOST
    if noise:
        ratio = 10 * math.log10(power / noise) if power and noise < math.inf else -MOST
    return Agreement(
        name=name,
        ratio=max(-MOST, min(ratio, MOST)),
        largest=largest,
        steps=None if step is None else largest / step,
        samples=len(right),
    )


def random_inputs(model: schema.ModelT, seed: int = 0) -> list[Call]:
    """Random inputs for each signature of a model.

    Normal numbers for floats, the whole range for integers with a scale, 0 and 1 for
    other integers, which may look something up. Dimensions that are open are 1.

    Args:
        model: A model from `flatbuffer.read`.
        seed: The same seed gives the same inputs.

    Returns:
        For each signature its key, its inputs by name, and the places of its outputs
        by name; both in the order of the graph. A model without signatures is called
        once, with None for a key, by the names of its tensors.

    Raises:
        ValueError: If an input is not of numbers that numpy has.

    Example:
    >>> import keras, keras_share
    >>> from keras_share.tflite.file import flatbuffer
    >>> model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(2)])
    >>> report = keras_share.export_tflite(model, "model.tflite")
    >>> [(key, inputs, _)] = random_inputs(flatbuffer.read("model.tflite"))
    >>> key, [array.shape for array in inputs.values()]
    ('serving_default', [(1, 16)])
    """
    rng = np.random.default_rng(seed)
    calls = []
    for key, graph, takes, gives in signatures(model):
        inputs = {n: _values(n, graph.tensors[i], rng) for n, i in takes.items()}
        order = list(map(int, graph.outputs))
        calls.append((key, inputs, {n: order.index(i) for n, i in gives.items()}))
    return calls


def difference(right: Outputs, other: Outputs) -> float:
    """The largest difference of outputs, as a share of the largest number of each.

    Args:
        right: The outputs of each call by name.
        other: The same of another runtime.

    Returns:
        0 for the same numbers, NaN being the same as NaN. Infinite if there is a NaN or
        an infinity in one of them only, or if names or shapes differ.

    Example:
    >>> ours = [{"y": np.array([1.0, -4.0, np.nan])}]
    >>> difference(ours, [{"y": np.array([1.0, -3.0, np.nan])}])
    0.25
    >>> difference(ours, [{"y": np.array([1.0, -4.0, 0.0])}])
    inf
    """
    if [*map(set, right)] != [*map(set, other)]:
        return float("inf")
    return max(
        (
            _array_difference(arrays[name], others[name])
            for arrays, others in zip(right, other, strict=True)
            for name in arrays
        ),
        default=0.0,
    )


def _array_difference(right: np.ndarray, other: np.ndarray) -> float:
    if right.shape != other.shape:
        return float("inf")
    right, other = right.astype("float64"), other.astype("float64")
    same = (right == other) | (np.isnan(right) & np.isnan(other))
    if not np.isfinite(right[~same]).all() or not np.isfinite(other[~same]).all():
        return float("inf")
    largest = np.abs(right[np.isfinite(right)]).max(initial=0) or 1.0
    return float(np.abs(right[~same] - other[~same]).max(initial=0) / largest)


def _values(name: str, tensor: schema.TensorT, rng: np.random.Generator) -> np.ndarray:
    shape = [max(n, 1) for n in shape_of(tensor)]
    if math.prod(shape) > _LARGEST:
        raise ValueError(
            f"An input must have at most {_LARGEST:,} numbers, to be tried on random "
            f"ones. Received: {name!r} of shape {tuple(shape)}. Is the file damaged?"
        )
    try:
        dtype = np.dtype(dtype_name(tensor.type))
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind == "f":
        return rng.normal(size=shape).astype(dtype)
    if dtype.kind not in "iub":
        raise ValueError(
            "The inputs of a model must be numbers that numpy has, to be tried on "
            f"random ones. Received: {name!r} of type {dtype_name(tensor.type)}"
        )
    scales = tensor.quantization and tensor.quantization.scale
    low, high = 0, 1
    if scales is not None and np.size(scales):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return rng.integers(low, high, shape, "int64", endpoint=True).astype(dtype)
