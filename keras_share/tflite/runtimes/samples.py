"""Samples as a file takes them, and its outputs as real numbers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_share.tflite.file.flatbuffer import dtype_name, schema
from keras_share.tflite.file.stored import shape_of

Samples = Any | Callable[[], Iterable[Any]]
Outputs = np.ndarray | dict[str, np.ndarray]


class End(NamedTuple):
    """An input or an output of a file.

    Attributes:
        name: Its name.
        shape: Its shape without the batch axis, -1 for a dimension that is open.
        dtype: Its type.
        scale: What an integer stands for, times its distance from the zero point; 0
            for numbers that stand for themselves.
        zero_point: The integer that stands for 0.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float = 0.0
    zero_point: int = 0

    @property
    def rounds(self) -> bool:
        """Whether its integers stand for real numbers."""
        return bool(self.scale) and self.dtype.kind in "iu"

    def fits(self, array: np.ndarray) -> bool:
        """Whether these are samples for it: real numbers where it rounds, too."""
        return (
            array.ndim == len(self.shape) + 1
            and all(
                n in (-1, m) for n, m in zip(self.shape, array.shape[1:], strict=True)
            )
            and np.can_cast(
                array.dtype, "float32" if self.rounds else self.dtype, "same_kind"
            )
        )

    def stored(self, array: np.ndarray) -> np.ndarray:
        """Samples in its type; those outside of its range at the ends of it."""
        if self.rounds and array.dtype.kind == "f":
            limits = np.iinfo(self.dtype)
            array = np.round(array / self.scale) + self.zero_point
            array = np.clip(array, limits.min, limits.max)
        return np.ascontiguousarray(array, self.dtype)

    def real(self, array: np.ndarray) -> np.ndarray:
        """The numbers that stored ones stand for."""
        if not self.rounds:
            return array
        return (array.astype("float32") - self.zero_point) * np.float32(self.scale)


def end_of(name: str, tensor: schema.TensorT) -> End:
    """The input or output of a file that is called so."""
    dtype = np.dtype(dtype_name(tensor.type))
    shape, quantization = shape_of(tensor)[1:], tensor.quantization
    if quantization is None or quantization.scale is None:
        return End(name, shape, dtype)
    [scale, *_], [zero_point, *_] = quantization.scale, quantization.zeroPoint
    return End(name, shape, dtype, float(scale), int(zero_point))


def batches(samples: Samples, takes: Sequence[End]) -> Iterator[list[np.ndarray]]:
    """Yields samples as a file takes them: an array for each of its inputs.

    Args:
        samples: Arrays with samples along the first axis: one, a dict by the names of
            the inputs, or lists in their order; or a function that returns an iterable
            of such.
        takes: The inputs of the file.

    Raises:
        ValueError: If there are no samples, or some don't fit the file.
    """
    ends = {end.name: end for end in takes}
    empty = True
    for part in samples() if callable(samples) else [samples]:
        given = _by_name(part, list(ends))
        lengths = {array.shape[:1] for array in given.values()}
        fit = set(given) == set(ends) and len(lengths) == 1 and lengths != {(0,)}
        if not fit or not all(ends[name].fits(given[name]) for name in ends):
            taken = {n: ("samples", *e.shape, e.dtype.name) for n, e in ends.items()}
            received = (
                {n: (*a.shape, a.dtype.name) for n, a in given.items()}
                if len(given) < len(taken) + 5
                else f"{len(given)} inputs, as of a list of numbers"
            )
            raise ValueError(
                "`inputs` must give the file's inputs, with equally many samples, at "
                "least one, by their names or in their order. The file takes "
                f"{taken}. Received: {received}"
            )
        empty = False
        yield [end.stored(given[name]) for name, end in ends.items()]
    if empty:
        raise ValueError("`inputs` must give at least one sample. Received: none")


def joined(
    rows: Iterable[Sequence[np.ndarray]], gives: Sequence[End], raw: bool
) -> Outputs:
    """The outputs of all batches along the first axis; by name if there are several."""
    columns = map(np.concatenate, zip(*rows, strict=True))
    arrays = {
        end.name: column if raw else end.real(column)
        for end, column in zip(gives, columns, strict=True)
    }
    return arrays.popitem()[1] if len(arrays) == 1 else arrays


def _by_name(structure: Any, names: list[str]) -> dict[Any, np.ndarray]:
    """The arrays by the names of the inputs; by numbers if there are more or less."""
    if not isinstance(structure, Mapping):
        arrays = list(_flat(structure))
        same = len(arrays) == len(names)
        structure = dict(
            zip(names if same else range(len(arrays)), arrays, strict=True)
        )
    return {name: np.asarray(array) for name, array in structure.items()}


def _flat(structure: Any) -> Iterator[Any]:
    if isinstance(structure, list | tuple):
        for part in structure:
            yield from _flat(part)
    else:
        yield structure
