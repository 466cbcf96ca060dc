"""One training: the scores of the network, and of its int8 file."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_share as ks
from keras_share.atomic import write_atomically
from proof.candidate import Candidate
from proof.sizes import int8_file
from proof.task import Data, Task

WARMUP = 0.1  # of the steps, in which the rate rises
SAMPLES = 200  # by which the ranges of activations are set
TUNING = 0.1  # of the steps again, with quantization
TUNING_RATE = 0.1  # of the peak rate
STRIDE = 50  # steps between which nothing is asked of Python


@dataclass(frozen=True)
class Job:
    """What is trained.

    Args:
        task: Name of the task.
        budget: Kilobytes of the file.
        steps: Steps of the training.
        stage: `"tune"` (for the rate), `"explore"` or `"confirm"`.
        candidate: Name of the candidate.
        width: Channels of the blocks.
        rate: Peak learning rate.
        seed: Of weights, order and, where the task draws it, split.
    """

    task: str
    budget: int
    steps: int
    stage: str
    candidate: str
    width: int
    rate: float
    seed: int


def train(task: Task, data: Data, job: Job, file: Path | None) -> Mapping[str, Any]:
    """Trains a network.

    Args:
        task: The task.
        data: Its data.
        job: What to train.
        file: Where to write the int8 file; None makes none and leaves the test alone.

    Returns:
        The job, and what was measured.
    """
    keras.utils.set_random_seed(job.seed)
    candidate = Candidate(job.candidate)
    model = task.network(candidate, job.width)
    x, y = task.batches(data, np.random.default_rng(job.seed), job.steps)
    start = time.process_time()
    fit(model, x, y, job.rate, task)
    seconds = time.process_time() - start
    row = {
        **asdict(job),
        "side": candidate.side,
        "parameters": model.count_params(),
        "cpu_seconds": round(seconds, 1),
        "val": task.score(predict(model, data.x_val), data.y_val),
    }
    if file is not None:
        raw, scores = as_int8(model, x, y, job.rate, task, data)
        write_atomically(file, raw)
        row.update(scores)
    keras.utils.clear_session()
    return row


def as_int8(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    rate: float,
    task: Task,
    data: Data,
) -> tuple[bytes, dict[str, float]]:
    """The int8 file of a model trained on `x`, and what it is worth on the test set."""
    quantized = ks.quantize_model(model, x[:SAMPLES])
    steps = round(TUNING * len(x) / task.batch) * task.batch
    fit(quantized, x[:steps], y[:steps], TUNING_RATE * rate, task)
    raw = int8_file(quantized, x[:SAMPLES])
    return raw, {
        "test": task.score(predict(model, data.x_test), data.y_test),
        "bytes": len(raw),
        "test_int8": task.score(ks.predict_tflite(raw, data.x_test), data.y_test),
    }


def fit(
    model: keras.Model, x: np.ndarray, y: np.ndarray, rate: float, task: Task
) -> None:
    """Compiles and trains: the rate rises, and falls to zero along a cosine."""
    steps = len(x) // task.batch
    warmup = round(WARMUP * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=rate, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=0.01, beta_2=0.99, global_clipnorm=1.0
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        optimizer,
        loss,
        jit_compile=False,  # to compile takes longer
        steps_per_execution=min(STRIDE, steps),
    )
    model.fit(x, y, batch_size=task.batch, shuffle=False, verbose=0)


def predict(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Logits."""
    return model.predict(x, batch_size=256, verbose=0)
