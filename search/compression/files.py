"""`Finalist`: a candidate as a file, with what it costs and how well it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras

from keras_share.search.compression.candidates import Candidate
from keras_share.search.compression.job import Job
from keras_share.search.compression.originals import save
from keras_share.search.compression.scores import Interval, Predictions, Scores
from keras_share.search.trial.measures import costs_of
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


def make_file(
    job: Job, name: str, candidate: Candidate | None, build: Callable[[], keras.Model]
) -> Path:
    """Trains what `build` makes to the end and writes its file, unless that was done.

    Without a candidate it is the original, in floating point.
    """
    path = job.work / "files" / f"{name}.tflite"
    if path.exists():
        return path
    path.parent.mkdir(exist_ok=True)
    model = build()
    if candidate is None:
        job.export(model, path, quantization="float32")
        return path
    epochs = job.final_epochs
    job.fit(model, epochs)
    quantized = job.quantized(model, candidate.quantization, max(epochs // 2, 1))
    save(quantized, path.with_suffix(".keras"))
    job.export(quantized, path)  # last: it tells that all is there
    return path


def judge(
    scores: Scores, paths: Mapping[str, tuple[Path, Candidate | None]]
) -> list[Finalist]:
    """Runs files and their candidates on the samples, measured in turns."""
    report = benchmark({name: path for name, (path, _) in paths.items()}, rounds=2)
    found = []
    for row, (name, (path, candidate)) in zip(report.rows, paths.items(), strict=True):
        said = scores.predictions(path)
        run = {"latency_ms": row.median_ms, "resident_mb": row.grown_mb}
        costs = {**costs_of(audit(path)), **run}
        score = scores.interval(said)
        found.append(Finalist(name, path, candidate, said, score, costs))
    return found
