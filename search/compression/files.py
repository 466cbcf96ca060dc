"""`Finalist`: a candidate as a file, with what it costs and how well it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras

from keras_share.export.convert import export_tflite
from keras_share.search.compression.candidates import Candidate, Designer
from keras_share.search.compression.originals import save
from keras_share.search.compression.scores import Interval, Predictions, Scores
from keras_share.search.compression.trials import Recipe, costs_of
from keras_share.tflite.inspect.audit import audit
from keras_share.tflite.runtimes.benchmark import benchmark


@dataclass(frozen=True)
class Finalist:
    """A file.

    Attributes:
        name: What it is.
        path: Where it is; the Keras model is beside it, with the suffix `.keras`.
        candidate: Its candidate; None for the original.
        predictions: Its outputs for the samples that it is judged on.
        score: How well it does.
        costs: `exported_bytes`, `latency_ms`, `resident_mb`, `estimated_memory_bytes`,
            and in TensorFlow Lite Micro `arena_bytes`.
    """

    name: str
    path: Path
    candidate: Candidate | None
    predictions: Predictions
    score: Interval
    costs: Mapping[str, float]

    @property
    def is_shared(self) -> bool:
        """Whether anything in it shares."""
        return self.candidate is not None and self.candidate.is_shared


class Files:
    """Makes finalists, each once: what was made is read again.

    Args:
        folder: Where they are kept.
        recipe: How candidates are trained.
        designer: What makes them.
        scores: What judges them.
        epochs: For how many epochs they are trained.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        designer: Designer,
        scores: Scores,
        epochs: int,
    ):
        self._folder = folder
        self._recipe = recipe
        self._designer = designer
        self._scores = scores
        self._epochs = epochs
        folder.mkdir(parents=True, exist_ok=True)

    def original(self) -> Path:
        """The original in floating point."""
        path = self._folder / "original.tflite"
        if not path.exists():
            model = self._designer.originals.trained()
            samples = self._recipe.samples
            export_tflite(
                model, path, quantization="float32", representative_dataset=samples
            )
        return path

    def make(
        self, name: str, candidate: Candidate, build: Callable[[], keras.Model]
    ) -> Path:
        """Trains a candidate to the end and writes its file.

        Args:
            name: Of the file.
            candidate: What it is.
            build: Makes its model, as far as it is trained.
        """
        path = self._folder / f"{name}.tflite"
        if path.exists():
            return path
        recipe, original = self._recipe, self._designer.originals.trained()
        model = build()
        recipe.fit(model, original, self._epochs)
        quantized = recipe.quantized(
            model, original, candidate.quantization, max(self._epochs // 2, 1)
        )
        save(quantized, path.with_suffix(".keras"))
        recipe.export(quantized, path)  # last: it tells that all is there
        return path

    def judge(
        self, paths: Mapping[str, tuple[Path, Candidate | None]]
    ) -> list[Finalist]:
        """Runs files on the samples, and measures them in turns.

        Args:
            paths: By the name of each file its path and its candidate.
        """
        report = benchmark({name: path for name, (path, _) in paths.items()}, rounds=2)
        found = []
        for row, (name, (path, candidate)) in zip(
            report.rows, paths.items(), strict=True
        ):
            said = self._scores.predictions(path)
            costs = {"latency_ms": row.median_ms, "resident_mb": row.grown_mb}
            facts = {**costs_of(audit(path)), **costs}
            score = self._scores.interval(said)
            found.append(Finalist(name, path, candidate, said, score, facts))
        return found
