"""`Job`: a compression, checked before anything is trained."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt
import numpy as np

from keras_share.atomic import write_atomically
from keras_share.export.target import check_target
from keras_share.flat.names import output_names
from keras_share.quantize.quantization import TRAINED, find_quantization
from keras_share.quantize.tfmot import check_backend
from keras_share.search.compression.candidates import Candidate, Designer
from keras_share.search.compression.data import Data
from keras_share.search.compression.originals import Originals
from keras_share.search.compression.sizes import Sizes
from keras_share.search.compression.training import evaluate, initial_rate
from keras_share.search.compression.trials import Recipe
from keras_share.search.engine import infer_metric_direction
from keras_share.search.space.sharing_space import RELAXATIONS
from keras_share.search.trial import objectives

# What is tried of each target where nothing else is said.
_QUANTIZATIONS = {
    "cpu": ("dynamic", "dynamic_int4"),
    "micro": ("int8",),
    "accelerator": ("int8",),
    "auto": ("int8", "int4"),
}
_CALIBRATED = 200  # samples
# That of TensorFlow Lite Micro is its arena, whatever LiteRT would take.
_MEMORY = {"micro": "arena_bytes"}


@dataclass(frozen=True)
class Options:
    """What `compress` was asked for beside its model and its samples."""

    output: Path
    max_bytes: float | None
    max_latency: float | None
    max_memory: float | None
    objective: Any
    target: str
    trials: int
    epochs: int
    final_epochs: int
    finalists: int
    widths: Sequence[int]
    quantizations: Sequence[str]
    relax: Sequence[str]
    tolerance: float
    learning_rate: float | None
    seed: int

    def __post_init__(self):
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
        for name in self.quantizations:
            find_quantization(name, TRAINED)
        if not self.relax or set(self.relax) - set(RELAXATIONS):
            raise ValueError(
                f"`relax` must be of {', '.join(RELAXATIONS)}. Received: "
                f"relax={self.relax!r}"
            )

    @property
    def limits(self) -> dict[str, float]:
        """The most that each cost may be, by its name."""
        given = {
            "exported_bytes": self.max_bytes,
            "latency_ms": self.max_latency,
            _MEMORY.get(self.target, "estimated_memory_bytes"): self.max_memory,
        }
        return {name: most for name, most in given.items() if most is not None}


@dataclass(frozen=True)
class Job:
    """All that a compression needs.

    Args:
        model: As `compress` takes it.
        options: What was asked for.
        train: The samples to train on.
        validation: Those to choose by.
        test: Those to judge files on.
        say: Called with what is to be shown.

    Raises:
        ValueError: If the model or the samples are not what they must be, nothing can
            be shared, or no candidate can keep the budget.
    """

    model: Any = field(repr=False)
    options: Options
    train: Data
    validation: Data
    test: Data
    say: Callable[[str], None] = field(repr=False)

    def __post_init__(self):
        check_backend("compress")
        self.work.mkdir(parents=True, exist_ok=True)
        self._check_samples()
        self._check_budget()

    @property
    def work(self) -> Path:
        """Where what is not for the user is kept."""
        return self.options.output / "work"

    @cached_property
    def originals(self) -> Originals:
        """The trained models."""
        options = self.options
        epochs = 5 * options.final_epochs
        folder = self.work / "originals"
        return Originals(self.model, options.widths, folder, self.train, epochs)

    @cached_property
    def recipe(self) -> Recipe:
        """How candidates are trained."""
        rate = self.options.learning_rate
        rate = initial_rate(self.originals.fresh()) if rate is None else rate
        samples = self.train.samples(_CALIBRATED)
        return Recipe(self.train, self.validation, self.options.target, rate, samples)

    @cached_property
    def quantizations(self) -> list[str]:
        """The ways of quantizing that are tried."""
        named = self.options.quantizations
        return list(named or _QUANTIZATIONS[self.options.target])

    @cached_property
    def sizes(self) -> Sizes:
        """What tells the bytes of candidates."""
        path = self.work / "trial.tflite"

        def measure(model: keras.Model, candidate: Candidate) -> int:
            rounded = self.recipe.rounded(model, candidate.quantization)
            return self.recipe.export(rounded, path).file_bytes

        return Sizes(self.work / "sizes.json", measure)

    @cached_property
    def designer(self) -> Designer:
        """What makes candidates."""
        options = self.options

        def size_of(candidate: Candidate) -> float:
            model = self.designer.build(candidate, trained=False)
            return self.sizes.of(model, candidate)

        return Designer(
            self.originals,
            options.widths,
            self.quantizations,
            options.relax,
            options.max_bytes,
            size_of if options.widths and options.max_bytes else None,
        )

    @cached_property
    def objective(self) -> kt.Objective:
        """What candidates are chosen by."""
        asked = self.options.objective
        if asked is None:
            more = [n for n in self._first_scores if self._direction(n) == "max"]
            asked = f"val_{more[0] if more else 'loss'}"
        if isinstance(asked, str) and self._direction(asked.removeprefix("val_")):
            way = self._direction(asked.removeprefix("val_"))
            return kt.Objective(asked, way)
        return objectives.get(asked)[0]

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

    @cached_property
    def _first_scores(self) -> Mapping[str, float]:
        """The metrics of the original on the first batch of the validation samples."""
        found = {}
        for data in (self.train, self.validation, self.test):
            model = self.originals.fresh()
            try:
                found = evaluate(model, model, data.first)
            except (ValueError, TypeError, KeyError, _misfit()) as error:
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

    def _check_samples(self) -> None:
        names = self._first_scores
        assert self.validation.count and self.test.count  # or it says what is wrong
        if self.metric not in names:
            raise ValueError(
                "`objective` must be a metric that the model was compiled with, with "
                f"val_ before it. Received: {self.objective.name!r}, with "
                f"{', '.join(f'val_{name}' for name in names)}"
            )

    def begin(self) -> bool:
        """Begins, or goes on with, what is in the folder.

        Returns:
            Whether it was begun before.

        Raises:
            ValueError: If that was something else. More trials and files may be asked
                for; what trials depend on may not change.
        """
        options, model = self.options, self.originals.fresh()
        kinds = self.designer.kinds
        now = {
            "model": _digest(model) if self.originals.widest is None else model.name,
            "train": _shapes(self.train.first),
            "validation": _shapes(self.validation.whole),
            "epochs": [options.epochs, options.final_epochs],
            "target": options.target,
            "seed": options.seed,
            "learning_rate": options.learning_rate,
            "objective": [self.objective.name, self.objective.direction],
            # One kind goes without its name, which Keras may have counted on.
            "blocks": kinds if len(kinds) > 1 else list(kinds.values()),
            "widths": options.widths,
            "quantizations": self.quantizations,
            "relax": options.relax,
            **{f"limit of {name}": most for name, most in options.limits.items()},
        }
        now = json.loads(json.dumps(now))
        path = self.work / "begun.json"
        if not path.exists():
            write_atomically(path, json.dumps(now).encode())
            return False
        before = json.loads(path.read_text(encoding="utf-8"))
        names = dict.fromkeys([*before, *now])
        changed = [name for name in names if before.get(name) != now.get(name)]
        if changed:
            raise ValueError(
                "A compression that goes on must be of the same model and samples, and "
                f"train alike. Changed since {str(options.output)!r} was begun: "
                f"{', '.join(changed)}. Choose another `output`, or delete it."
            )
        return True

    def _check_budget(self) -> None:
        """Sees that each way of quantizing works, and that a candidate may fit."""
        designer, most = self.designer, self.options.max_bytes
        self.say(f"writing files of {len(self.quantizations)} ways of quantizing")
        nearest: tuple[float, Candidate] | None = None
        for quantization in self.quantizations:
            for candidate in (
                designer.unshared(quantization),
                designer.smallest(quantization),
            ):
                model = designer.build(candidate, trained=False)
                size = self.sizes.of(model, candidate)
                if nearest is None or size < nearest[0]:
                    nearest = size, candidate
        assert nearest is not None  # there is a way of quantizing
        if most is not None and nearest[0] > most:
            raise ValueError(
                f"No candidate can keep the budget. Received: max_bytes={most:,.0f}; "
                f"nearest comes '{nearest[1]}' with about {nearest[0]:,} bytes. Raise "
                "the budget, pass `quantizations` of fewer bits, or a function of the "
                "width as `model` with narrower `widths`."
            )


def _misfit() -> type[Exception]:
    """What TensorFlow raises of shapes that don't fit."""
    import tensorflow as tf

    return tf.errors.OpError


def _shapes(structure: Any) -> list[list[int]]:
    return [list(np.shape(part)) for part in keras.tree.flatten(structure)]


def _digest(model: keras.Model) -> str:
    found = hashlib.sha256(os.fsencode(model.name))
    for variable in model.weights:
        found.update(keras.ops.convert_to_numpy(variable).tobytes())
    return found.hexdigest()[:16]
