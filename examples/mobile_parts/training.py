"""Training with a bar that shows how far it is."""

from typing import Any

import keras
import tensorflow as tf
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from mobile_parts.images import Images, Split


def train(
    network: keras.Model,
    split: Split,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    *,
    title: str,
    console: Console,
) -> keras.Model:
    """Trains a network, and goes back to the epoch that validated best."""
    steps = epochs * -(-len(split.train) // batch_size)
    network.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                0.0, steps, warmup_target=learning_rate, warmup_steps=steps // 10
            )
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,  # compiling takes longer than so short a training
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[logs]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=epochs, logs="")

        def on_epoch_end(epoch: int, logs: dict[str, Any]) -> None:
            told = f"loss {logs['loss']:.3f}, validation {logs['val_accuracy']:.3f}"
            progress.update(task, completed=epoch + 1, logs=told)

        shown = keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)
        best = keras.callbacks.EarlyStopping(
            "val_accuracy", mode="max", patience=epochs, restore_best_weights=True
        )
        network.fit(
            _batches(split.train, batch_size),
            epochs=epochs,
            validation_data=(split.validation.x, split.validation.y),
            callbacks=[shown, best],
            shuffle=False,
            verbose=0,
        )
    return network


def _batches(images: Images, batch_size: int) -> tf.data.Dataset:
    """Batches of images, a little shifted, turned and zoomed."""
    disguise = keras.Sequential(
        [
            keras.layers.RandomTranslation(0.08, 0.08, fill_mode="nearest"),
            keras.layers.RandomRotation(0.03, fill_mode="nearest"),
            keras.layers.RandomZoom(0.08, fill_mode="nearest"),
        ]
    )
    ordered = tf.data.Dataset.from_tensor_slices((images.x, images.y))
    shuffled = ordered.shuffle(len(images)).batch(batch_size)
    return shuffled.map(lambda x, y: (disguise(x, training=True), y)).prefetch(2)
