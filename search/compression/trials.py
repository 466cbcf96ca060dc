"""`CompressionModel`: what one trial of a compression does."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt

from keras_share.export.convert import export_tflite
from keras_share.quantize.model import quantize_model
from keras_share.search.compression.candidates import Candidate, Designer
from keras_share.search.compression.data import Data
from keras_share.search.compression.sizes import Sizes
from keras_share.search.compression.training import evaluate, train
from keras_share.search.trial.outcomes import TrialRejected
from keras_share.tflite.inspect.audit import Audit
from keras_share.tflite.runtimes.benchmark import benchmark

# Quantized weights are near to where they should be.
_GENTLE = 0.1


@dataclass(frozen=True)
class Recipe:
    """How candidates are trained and exported.

    Args:
        train: The samples to train on.
        validation: Those to choose by.
        target: What the file is for, as of `export_tflite`.
        learning_rate: That of the first step.
        samples: Inputs by which the ranges of activations are set.
    """

    train: Data
    validation: Data
    target: str
    learning_rate: float
    samples: Any

    def fit(
        self, model: keras.Model, original: keras.Model, epochs: int, **kwargs: Any
    ) -> dict[str, float]:
        """Trains a candidate, before it is quantized."""
        rate = self.learning_rate
        data = self.train
        return train(
            model, original, original, data, epochs=epochs, learning_rate=rate, **kwargs
        )

    def quantized(
        self,
        model: keras.Model,
        original: keras.Model,
        quantization: str,
        epochs: int,
    ) -> keras.Model:
        """A trained candidate with integers, trained on with them."""
        quantized = self.rounded(model, quantization)
        if epochs:
            train(
                quantized,
                original,
                original,
                self.train,
                epochs=epochs,
                learning_rate=_GENTLE * self.learning_rate,
            )
        return quantized

    def rounded(self, model: keras.Model, quantization: str) -> keras.Model:
        """A candidate with integers, as it is."""
        with warnings.catch_warnings():
            # What stays in floating point was told once, of the original.
            warnings.simplefilter("ignore", UserWarning)
            return quantize_model(model, self.samples, quantization=quantization)

    def export(self, model: keras.Model, path: Path) -> Audit:
        """Writes the file of a quantized candidate."""
        return export_tflite(
            model, path, target=self.target, representative_dataset=self.samples
        )


class CompressionModel(kt.HyperModel):
    """Builds, trains and measures the candidate of a trial.

    Args:
        designer: What makes candidates.
        recipe: How they are trained.
        sizes: What tells their bytes.
        folder: For files that are measured and deleted.
        exact: Whether each file is written and run: for limits that a size does not
            tell.
    """

    def __init__(
        self,
        designer: Designer,
        recipe: Recipe,
        sizes: Sizes,
        folder: Path,
        exact: bool,
    ):
        super().__init__()
        self.designer = designer
        self.recipe = recipe
        self.sizes = sizes
        self.folder = folder
        self.exact = exact
        self._built: tuple[Candidate, bool] | None = None

    def build(self, hp: kt.HyperParameters) -> keras.Model:
        """The candidate with the weights of the original."""
        candidate = self.designer.candidate(hp)
        extras = hp.values.get("sharing.relax", "none"), hp.values.get("layers", "all")
        is_plain = extras == ("none", "all")
        self._built = candidate, candidate.is_shared or is_plain
        return self.designer.build(candidate)

    def measure(self, model: keras.Model) -> Mapping[str, float]:
        """What is known of its file.

        Raises:
            TrialRejected: If it is another name for the model that shares nothing.
        """
        assert self._built is not None  # it was built just before
        candidate, is_new = self._built
        if not is_new:
            raise TrialRejected("nothing is shared, as in another trial")
        width = candidate.design.width
        known: dict[str, float] = {} if width is None else {"width": width}
        if not self.exact:
            return {"exported_bytes": self.sizes.of(model, candidate), **known}
        path = self.folder / "trial.tflite"
        report = self.recipe.export(
            self.recipe.rounded(model, candidate.quantization), path
        )
        [row] = benchmark(path, rounds=1).rows
        return {**costs_of(report), "latency_ms": row.median_ms, **known}

    def fit(
        self,
        hp: kt.HyperParameters,
        model: keras.Model,
        *args: Any,
        epochs: int = 1,
        callbacks: Any = (),
        **kwargs: Any,
    ) -> dict[str, float]:
        """Trains it a little, quantizes it, and tells how well that does."""
        assert self._built is not None  # it was built just before
        recipe, original = self.recipe, self.designer.originals.trained()
        recipe.fit(
            model, original, epochs, validation=recipe.validation, callbacks=callbacks
        )
        quantized = recipe.quantized(
            model, original, self._built[0].quantization, max(epochs // 3, 1)
        )
        found = evaluate(quantized, original, recipe.validation.whole)
        return {f"val_{name}": value for name, value in found.items()}


def costs_of(report: Audit) -> dict[str, float]:
    """What can be read from a file of what it costs."""
    found: dict[str, float] = {"exported_bytes": report.file_bytes}
    if report.memory is not None:
        found["estimated_memory_bytes"] = report.memory.total_bytes
    if "arena_bytes" in report.metadata:
        found["arena_bytes"] = report.metadata["arena_bytes"]
    return found
