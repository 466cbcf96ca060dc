"""`Sizes`: how large a file becomes, without writing it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from keras_share.atomic import write_atomically
from keras_share.quantize.quantization import Quantization
from keras_share.search.compression.candidates import Candidate

_PER_CHANNEL = 4  # bytes of a scale; zero points are all zeros, once in a file


class _Known(NamedTuple):
    """A file that was written."""

    width: int
    numbers: int
    channels: int
    size: int


class Sizes:
    """Predicts the bytes of files from their kernels and from like files.

    Beside its kernels a file has a part that depends on how the candidate is quantized
    and relaxed, and on its width, and hardly on which sites share. One file of each
    such sort is written, and one more where a width is beyond those known; between them
    the part is interpolated. Sizes are off by a few percent. What is known is kept at
    `path` for models of one `form`; `measure` gives the bytes of a candidate's file.
    """

    def __init__(
        self,
        path: Path,
        measure: Callable[[keras.Model, Candidate], int],
        form: str,
    ):
        self._path = path
        self._measure = measure
        self._form = form
        self._known: dict[str, list[_Known]] = {}
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found.get("form") == form:
                for sort, rows in found["known"].items():
                    self._known[sort] = [_Known(*row) for row in rows]

    def of(self, model: keras.Model, candidate: Candidate) -> int:
        """The bytes of the file that a candidate becomes, by its model."""
        width = candidate.design.width or 0
        numbers, channels = kernel_numbers(model), kernel_channels(model)
        known = self._known.setdefault(_sort(candidate), [])
        widths = [one.width for one in known]
        if not known or not min(widths) <= width <= max(widths):
            size = self._measure(model, candidate)
            known.append(_Known(width, numbers, channels, size))
            known.sort()
            found = {"form": self._form, "known": self._known}
            write_atomically(self._path, json.dumps(found))

        def of_kernels(numbers: int, channels: int) -> float:
            bits = Quantization(candidate.quantization).weights
            each = self._bytes_each(candidate.quantization, bits)
            return each * numbers + (_PER_CHANNEL * channels if bits else 0)

        rests = [one.size - of_kernels(one.numbers, one.channels) for one in known]
        rest = np.interp(width, [one.width for one in known], rests)
        return round(rest + of_kernels(numbers, channels))

    def _bytes_each(self, quantization: str, bits: int | None) -> float:
        ends = [self._known.get(f"{quantization} {end}", []) for end in _ENDS]
        if bits is None or bits == 8:
            return (bits or 32) / 8
        for one, other in ((a, b) for a in ends[0] for b in ends[1]):
            if one.width == other.width and one.numbers > other.numbers:
                # Some kernels keep 8 bits, as the target has operators of few for
                # others.
                size = one.size - other.size
                size -= _PER_CHANNEL * (one.channels - other.channels)
                return size / (one.numbers - other.numbers)
        return bits / 8


_ENDS = ("unshared", "shared")


def _sort(candidate: Candidate) -> str:
    relax = candidate.design.relax
    kind = _ENDS[candidate.is_shared] + (f" {type(relax).__name__}" if relax else "")
    return f"{candidate.quantization} {kind}"


def _kernels(model: keras.Model) -> list[tuple[int, ...]]:
    return [tuple(v.shape) for v in model.weights if len(v.shape) > 1]


def kernel_numbers(model: keras.Model) -> int:
    """How many numbers a model has that are stored in few bits."""
    return sum(int(np.prod(shape)) for shape in _kernels(model))


def kernel_channels(model: keras.Model) -> int:
    """How many ranges these have: one for each channel of the output."""
    # Of a depthwise kernel the last axis but one has them.
    return sum(shape[-1] if shape[-1] > 1 else shape[-2] for shape in _kernels(model))
