"""Training with a bar that shows how far it is."""

from typing import Any

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from keyword_parts.batches import Batches


def compile_network(
    network: keras.Model, batches: Batches, epochs: int, learning_rate: float
) -> keras.Model:
    """Compiles for a number of epochs, over which the learning rate falls to zero."""
    steps = epochs * len(batches)
    network.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(learning_rate, steps)
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,  # compiling takes longer than so short a training
    )
    return network


def train(
    network: keras.Model,
    batches: Batches,
    epochs: int,
    learning_rate: float,
    *,
    title: str,
    console: Console | None = None,
) -> keras.Model:
    """Compiles and trains a network."""
    compile_network(network, batches, epochs, learning_rate)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[logs]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=epochs, logs="")

        def on_epoch_end(epoch: int, logs: dict[str, Any]) -> None:
            told = f"loss {logs['loss']:.3f}, accuracy {logs['accuracy']:.3f}"
            progress.update(task, completed=epoch + 1, logs=told)

        shown = keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)
        network.fit(batches, epochs=epochs, callbacks=[shown], verbose=0)
    return network
