"""The width that just fits a budget, by the bytes of real int8 files."""

import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import keras_share as ks
from keras_share.atomic import write_atomically
from proof.candidate import Candidate
from proof.task import Task

WIDTHS = (16, 32, 64)  # by which the size of any width is predicted
STEP = 2


class Sizes:
    """Bytes by task, candidate and width; what was measured is kept in a file.

    Args:
        path: A `.csv` file, made when it isn't there.
    """

    def __init__(self, path: Path):
        self.path = path
        known = pd.read_csv(path).itertuples(index=False) if path.exists() else ()
        self.known = {tuple(row[:3]): int(row[3]) for row in known}

    def width(self, task: Task, candidate: Candidate, budget: int) -> int:
        """The largest even width whose file has at most `budget` kilobytes.

        Raises:
            ValueError: If there is none of at least `STEP`.
        """
        measured = [self.bytes(task, candidate, width) for width in WIDTHS]
        size = np.polynomial.Polynomial.fit(WIDTHS, measured, 2)
        limit = 1000 * budget
        width = max((w for w in range(STEP, 512, STEP) if size(w) <= limit), default=0)
        while width and self.bytes(task, candidate, width) > limit:
            width -= STEP
        if not width:
            raise ValueError(
                f"The budget must leave room for a network. Received: {budget} KB, "
                f"and {candidate.name} of width {WIDTHS[0]} has {measured[0]} bytes"
            )
        return width

    def bytes(self, task: Task, candidate: Candidate, width: int) -> int:
        """Size of the int8 file."""
        key = (task.name, candidate.name, width)
        if key not in self.known:
            self.known[key] = len(untrained_file(task.network(candidate, width)))
            rows = [(*key, size) for key, size in self.known.items()]
            frame = pd.DataFrame(rows, columns=["task", "candidate", "width", "bytes"])
            write_atomically(self.path, frame.to_csv(index=False).encode())
            keras.utils.clear_session()
        return self.known[key]


def untrained_file(model: keras.Model) -> bytes:
    """An int8 file as large as that of the trained model."""
    # Private weights that start equal would be stored once.
    rng = np.random.default_rng(0)
    weights = model.get_weights()
    model.set_weights([w + rng.uniform(0, 0.01, w.shape) for w in weights])
    [tensor] = model.inputs
    samples = rng.uniform(size=(2, *tensor.shape[1:])).astype(tensor.dtype)
    return int8_file(ks.quantize_model(model, samples), samples)


def int8_file(quantized: keras.Model, samples: np.ndarray) -> bytes:
    """The file of a quantized model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        ks.export_tflite(quantized, path, representative_dataset=samples)
        return path.read_bytes()
