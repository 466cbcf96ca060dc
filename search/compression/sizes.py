"""`Sizes`: how large a file becomes, without writing it."""

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from keras_share.atomic import write_atomically
from keras_share.quantize.quantization import Quantization
from keras_share.search.compression.candidates import Candidate


class Sizes:
    """Predicts the bytes of files from their kernels and from like files.

    Beside its kernels a file has a part that depends on how the candidate is quantized
    and relaxed and hardly on which sites share. One file of each such sort is written,
    and tells that part for all others; their sizes are off by 1 to 3%. What is known is
    kept at `path`; `measure` gives the bytes of the file of a candidate.
    """

    def __init__(self, path: Path, measure: Callable[[keras.Model, Candidate], int]):
        self._path = path
        self._measure = measure
        self._known: dict[str, tuple[int, int]] = {}
        if path.exists():
            self._known = json.loads(path.read_text(encoding="utf-8"))

    def of(self, model: keras.Model, candidate: Candidate) -> int:
        """The bytes of the file that a candidate becomes, by its model."""
        numbers, sort = kernel_numbers(model), _sort(candidate)
        if sort not in self._known:
            self._known[sort] = numbers, self._measure(model, candidate)
            write_atomically(self._path, json.dumps(self._known))
        like, size = self._known[sort]
        return round(size + self._bytes_each(candidate.quantization) * (numbers - like))

    def _bytes_each(self, quantization: str) -> float:
        bits = Quantization(quantization).weights or 32
        ends = [self._known.get(f"{quantization} {end}") for end in _ENDS]
        if bits < 8 and None not in ends:
            # Some kernels keep 8 bits, as the target has operators of few for others.
            (many, large), (few, small) = ends  # type: ignore[misc]
            if many > few:
                return (large - small) / (many - few)
        return bits / 8


_ENDS = ("unshared", "shared")


def _sort(candidate: Candidate) -> str:
    relax = candidate.design.relax
    kind = _ENDS[candidate.is_shared] + (f" {type(relax).__name__}" if relax else "")
    return f"{candidate.quantization} {kind}"


def kernel_numbers(model: keras.Model) -> int:
    """How many numbers a model has that are stored in few bits."""
    return sum(
        int(np.prod(v.shape)) for v in model.trainable_variables if len(v.shape) > 1
    )
