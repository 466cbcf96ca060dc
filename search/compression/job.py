"""`Job`: a compression, checked before anything is trained."""

import numbers
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt
import numpy as np

from keras_share.export.convert import export_tflite
from keras_share.export.converter import check_names
from keras_share.export.target import check_target
from keras_share.flat.names import output_names
from keras_share.quantize.model import quantize_model
from keras_share.quantize.quantization import TRAINED, find_quantization
from keras_share.quantize.tfmot import check_backend
from keras_share.search.compression.candidates import Candidate, Designer
from keras_share.search.compression.data import Data
from keras_share.search.compression.originals import Originals, digest
from keras_share.search.compression.sizes import Sizes
from keras_share.search.compression.training import (
    evaluate,
    initial_rate,
    judged,
    train,
)
from keras_share.search.engine import infer_metric_direction
from keras_share.search.project.opening import make_folder
from keras_share.search.trial import objectives
from keras_share.tflite.inspect.audit import Audit

# What is tried of each target where nothing else is said.
_QUANTIZATIONS = {
    "cpu": ("dynamic", "dynamic_int4"),
    "micro": ("int8",),
    "accelerator": ("int8",),
    "auto": ("int8", "int4"),
}
_CALIBRATED = 200  # samples
# Quantized weights are near to where they should be.
_GENTLE = 0.1


@dataclass(frozen=True, kw_only=True)
class Job:
    """What `compress` was asked for, and what follows from it.

    It is a ValueError if the model or the samples are not what they must be, nothing
    can be shared, or no candidate can keep the budget.
    """

    model: Any = field(repr=False)
    train: Data
    validation: Data
    test: Data
    output: Path
    max_bytes: float | None
    max_latency: float | None
    max_memory: float | None
    asked_objective: Any
    target: str
    trials: int
    epochs: int
    final_epochs: int
    finalists: int
    widths: Sequence[int]
    asked_quantizations: Sequence[str]
    relax: Sequence[str]
    tolerance: float
    learning_rate: float | None
    seed: int
    say: Callable[[str], None] = field(repr=False)

    def __post_init__(self):
        check_backend("compress")
        check_target(self.target)
        for name in ("trials", "epochs", "final_epochs", "finalists"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be an integer of at least 1. Received: "
                    f"{name}={getattr(self, name)!r}"
                )
        if "arena_bytes" in self.limits and find_spec("tflite_micro") is None:
            raise ValueError(
                "With target='micro', `max_memory` is the arena of TensorFlow Lite "
                "Micro, which must be there to measure it: `pip install tflite-micro` "
                f"(Linux). Received: max_memory={self.max_memory!r} without it"
            )
        for name in ("max_bytes", "max_latency", "max_memory", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not _is_finite(value, above=0):
                raise ValueError(
                    f"`{name}` must be a number above 0. Received: {name}={value!r}"
                )
        if not _is_finite(self.tolerance):
            raise ValueError(
                "`tolerance` must be a number of the metric, such as 0.01. Received: "
                f"tolerance={self.tolerance!r}"
            )
        for name in self.asked_quantizations:
            find_quantization(name, TRAINED)
        make_folder(self.work, "`output`")
        if self.metric not in self._first_scores:
            raise ValueError(
                "`objective` must be a metric that the model was compiled with, with "
                f"val_ before it. Received: {self.objective.name!r}, with "
                f"{', '.join(f'val_{name}' for name in self._first_scores)}"
            )
        assert self.validation.count and self.test.count  # or it says what is wrong
        self._check_budget()

    @property
    def work(self) -> Path:
        """Where what is not for the user is kept."""
        return self.output / "work"

    @property
    def limits(self) -> dict[str, float]:
        """The most that each cost may be, by its name."""
        is_micro = self.target == "micro"
        given = {
            "exported_bytes": self.max_bytes,
            "latency_ms": self.max_latency,
            "arena_bytes" if is_micro else "estimated_memory_bytes": self.max_memory,
        }
        return {name: most for name, most in given.items() if most is not None}

    @cached_property
    def originals(self) -> Originals:
        """The trained models."""
        folder, epochs = self.work / "originals", 5 * self.final_epochs
        return Originals(self.model, self.widths, folder, self.train, epochs)

    @cached_property
    def quantizations(self) -> list[str]:
        """The ways of quantizing that are tried."""
        return list(
            dict.fromkeys(self.asked_quantizations) or _QUANTIZATIONS[self.target]
        )

    @cached_property
    def sizes(self) -> Sizes:
        """What tells the bytes of candidates."""

        def measure(model: keras.Model, candidate: Candidate) -> int:
            rounded = self.rounded(model, candidate.quantization)
            return self.export(rounded, self.work / "trial.tflite").file_bytes

        form = f"{self.target} {digest(self.originals.fresh(), values=False)}"
        return Sizes(self.work / "sizes.json", measure, form)

    @cached_property
    def designer(self) -> Designer:
        """What makes candidates."""
        return Designer(
            self.originals,
            self.widths,
            self.quantizations,
            self.relax,
            self.max_bytes,
            self.size_of,
        )

    def size_of(self, candidate: Candidate) -> int:
        """The bytes that the file of a candidate will have, about."""
        model = self.designer.build(candidate, trained=False)
        rng = np.random.default_rng(0)
        for variable in model.weights:  # what is equal would be stored once
            if keras.backend.is_float_dtype(variable.dtype):
                variable.assign_add(rng.uniform(0, 0.01, variable.shape))
        return self.sizes.of(model, candidate)

    @cached_property
    def objective(self) -> kt.Objective:
        """What candidates are chosen by."""
        asked = self.asked_objective
        if asked is None:
            more = [n for n in self._first_scores if self._direction(n) == "max"]
            asked = f"val_{more[0] if more else 'loss'}"
        if isinstance(asked, str):
            asked = f"val_{asked.removeprefix('val_')}"
            direction = self._direction(asked.removeprefix("val_"))
            asked = kt.Objective(asked, direction) if direction else asked
        return kt.Objective(*next(iter(objectives.get(asked).items())))

    def _direction(self, metric: str) -> str | None:
        """Whether more or less of a metric is better, None if nobody knows.

        Of several outputs the names of metrics begin with those of the outputs.
        """
        names = output_names(self.originals.fresh())
        parts = [metric, *(metric.removeprefix(f"{name}_") for name in names)]
        return next(filter(None, map(infer_metric_direction, parts)), None)

    @property
    def metric(self) -> str:
        """The metric of files that the objective is of."""
        return self.objective.name.removeprefix("val_")

    @property
    def sign(self) -> int:
        """1 if more of the metric is better, else -1."""
        return 1 if self.objective.direction == "max" else -1

    # How candidates are trained and exported.

    def fit(self, model: keras.Model, epochs: int, **kwargs: Any) -> None:
        """Trains a candidate, before it is quantized."""
        self._fit(model, epochs, 1.0, **kwargs)

    def quantized(
        self, model: keras.Model, quantization: str, epochs: int
    ) -> keras.Model:
        """A trained candidate with integers, trained on with them."""
        quantized = self.rounded(model, quantization)
        self._fit(quantized, epochs, _GENTLE)
        return quantized

    def rounded(self, model: keras.Model, quantization: str) -> keras.Model:
        """A candidate with integers, as it is."""
        with warnings.catch_warnings():
            # What stays in floating point was told once, of the original.
            warnings.simplefilter("ignore", UserWarning)
            return quantize_model(model, self.samples, quantization=quantization)

    def export(self, model: keras.Model, path: Path, **kwargs: Any) -> Audit:
        """Writes the file of a quantized candidate."""
        samples = self.samples
        given = kwargs or {"target": self.target}
        return export_tflite(model, path, representative_dataset=samples, **given)

    @cached_property
    def samples(self) -> Any:
        """Inputs by which the ranges of activations are set."""
        return self.train.samples(_CALIBRATED)

    @cached_property
    def _rate(self) -> float:
        return self.learning_rate or initial_rate(self.originals.fresh())

    def _fit(
        self,
        model: keras.Model,
        epochs: int,
        share: float,
        original: keras.Model | None = None,
        **kwargs: Any,
    ) -> None:
        original = self.originals.trained() if original is None else original
        given = {"epochs": epochs, "learning_rate": share * self._rate, **kwargs}
        train(model, original, original, self.train, **given)

    # What is checked before anything is trained.

    @cached_property
    def _first_scores(self) -> Mapping[str, float]:
        """The metrics of the original on the first batch of the validation samples."""
        import tensorflow as tf

        misfit = ValueError, TypeError, KeyError, tf.errors.OpError
        model, found = self.originals.fresh(), {}
        check_names(model)
        judge = judged(model, model)  # one, to be traced once
        for data in (self.train, self.validation, self.test):
            try:
                found = evaluate(judge, data.first)
            except misfit as error:
                x, y = (_shapes(part) for part in data.first[:2])
                wanted = [tuple(one.shape) for one in model.inputs]
                raise ValueError(
                    f"`{data.name}` must hold what the model takes and is trained on: "
                    f"inputs of {wanted}. Received: inputs of {x} and targets of {y}. "
                    f"{str(error).splitlines()[0] if str(error) else error!r}"
                ) from error
            if not np.isfinite(found["loss"]):
                raise ValueError(
                    f"The loss of the model on `{data.name}` must be finite. Received: "
                    f"{found['loss']} on its first batch. Train the model anew with a "
                    "lower learning rate, or look at its targets."
                )
        return found

    def _check_budget(self) -> None:
        """Sees that each way of quantizing works, and that a candidate may fit."""
        self.say(f"writing files of {len(self.quantizations)} ways of quantizing")
        ends = [
            end(quantization)
            for quantization in self.quantizations
            for end in (self.designer.unshared, self.designer.smallest)
        ]
        size, nearest = min(
            ((self.size_of(one), one) for one in ends), key=lambda pair: pair[0]
        )
        if self.max_bytes is not None and size > self.max_bytes:
            raise ValueError(
                "No candidate can keep the budget. Received: max_bytes="
                f"{self.max_bytes:,.0f}; nearest comes '{nearest}' with about {size:,} "
                "bytes. Raise the budget, pass `quantizations` of fewer bits, or a "
                "function of the width as `model` with narrower `widths`."
            )


def _shapes(structure: Any) -> list[list[int]]:
    return [list(np.shape(part)) for part in keras.tree.flatten(structure)]


def _is_finite(value: Any, above: float = -np.inf) -> bool:
    return isinstance(value, numbers.Real) and above < float(value) < np.inf
