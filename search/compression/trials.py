"""`CompressionModel`: what one trial of a compression does."""

from collections.abc import Mapping
from typing import Any

import keras
import keras_tuner as kt

from keras_share.search.compression.candidates import ALL, Candidate
from keras_share.search.compression.job import Job
from keras_share.search.compression.training import evaluate, judged
from keras_share.search.trial.budget import TrialRejected
from keras_share.search.trial.measures import measure_file


class CompressionModel(kt.HyperModel):
    """Builds, trains and measures the candidate of a trial."""

    _candidate: Candidate
    _is_twin: bool

    def __init__(self, job: Job):
        super().__init__()
        self.job = job

    def build(self, hp: kt.HyperParameters) -> keras.Model:
        """The candidate with the weights of the original."""
        candidate = self._candidate = self.job.designer.candidate(hp)
        extras = hp.values.get("sharing.relax", "none"), hp.values.get("layers", ALL)
        self._is_twin = not candidate.is_shared and extras != ("none", ALL)
        return self.job.designer.build(candidate)

    def measure(self, model: keras.Model) -> Mapping[str, float]:
        """What is known of its file.

        Raises:
            TrialRejected: If it is another name for the model that shares nothing.
        """
        if self._is_twin:
            raise TrialRejected("nothing is shared, as in another trial")
        job, candidate = self.job, self._candidate
        width = candidate.design.width
        known: dict[str, float] = {} if width is None else {"width": width}
        if not job.limits.keys() - {"exported_bytes"}:
            return {"exported_bytes": job.sizes.of(model, candidate), **known}
        # Other limits are kept by files that are written and run.
        rounded = job.rounded(model, candidate.quantization)
        export = {"target": job.target, "representative_dataset": job.samples}
        return {**measure_file(rounded, export, job.limits), **known}

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
        job = self.job
        job.fit(model, epochs, validation=job.validation, callbacks=callbacks)
        quantization = self._candidate.quantization
        quantized = job.quantized(model, quantization, max(epochs // 3, 1))
        found = evaluate(
            judged(quantized, job.originals.trained()), job.validation.whole
        )
        return {f"val_{name}": value for name, value in found.items()}
