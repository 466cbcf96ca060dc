"""A training loop that goes on where a killed run left off."""

import io
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from albert_parts.batches import Batch
from keras_share.atomic import write_atomically

_WARMUP = 0.3  # of the steps
_SHOW_EVERY = 10  # steps, over which the loss shown is averaged


def compile_model(
    model: keras.Model,
    losses: dict[str, keras.Loss],
    metrics: dict[str, keras.Metric],
    *,
    steps: int,
    learning_rate: float,
) -> None:
    """Compiles a model for a training of `steps` steps.

    The learning rate rises for long, as normalization after the residual sums wants,
    and then falls to zero.
    """
    warmup = max(1, round(_WARMUP * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=learning_rate, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=0.01, global_clipnorm=1.0)
    # Compiling by XLA takes longer on a CPU than it saves in so short a training.
    model.compile(optimizer, losses, weighted_metrics=metrics, jit_compile=False)


def train(
    model: keras.Model,
    batch_at: Callable[[int], Batch],
    steps: int,
    checkpoint: Path,
    *,
    title: str = "train",
    save_every: int = 50,
    console: Console | None = None,
) -> None:
    """Trains a compiled model, from its checkpoint on if there is one.

    A run that was killed and goes on ends with the same weights as one that was not:
    the checkpoint holds the state of the optimizer and of all random numbers inside
    the model, and `batch_at` gives the same batch for the same step.

    Args:
        model: A compiled model.
        batch_at: The batch of a step.
        steps: Number of steps in all.
        checkpoint: File to go on from, and to save to.
        title: What the progress display says.
        save_every: Steps between two saves.
        console: Where the progress is displayed. Defaults to a new one.
    """
    model.optimizer.build(model.trainable_variables)
    done = restore(model, checkpoint) if checkpoint.exists() else 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=steps, completed=done, loss="")
        for step in range(done, steps):
            batch = batch_at(step)
            logs = model.train_on_batch(
                batch.x, batch.y, batch.sample_weight, return_dict=True
            )
            if (step + 1) % save_every == 0 or step + 1 == steps:
                save(model, checkpoint, step + 1)
            if (step + 1) % _SHOW_EVERY == 0:
                progress.update(task, loss=f"loss {float(logs['loss']):.3f}")
                model.reset_metrics()
            progress.advance(task)


def save(model: keras.Model, path: Path, step: int) -> None:
    """Writes all variables of a model and its optimizer, and the number of steps."""
    values = {str(i): v for i, v in enumerate(map(_array, _state(model)))}
    data = io.BytesIO()
    np.savez(data, step=step, **values)
    write_atomically(path, data.getvalue())


def restore(model: keras.Model, path: Path) -> int:
    """Reads what `save` wrote; returns the number of steps."""
    with np.load(path) as file:
        for i, variable in enumerate(_state(model)):
            variable.assign(file[str(i)])
        return int(file["step"])


def _state(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]


def _array(variable: keras.Variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable)
