"""The trials of a search for TensorBoard's HParams tab."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_share.search.project.choices import chosen_patterns, chosen_values
from keras_share.search.project.rows import Row


def write_hparams(rows: Iterable[Row], folder: str | os.PathLike) -> None:
    """Writes one run for each trial: its hyperparameters and what it reached.

    KerasTuner itself logs HParams where `search` is given a
    `keras.callbacks.TensorBoard`, and a pattern then is the number of its place in
    the list of all patterns. Here it is a text such as `AABA`. The objective, the other
    metrics at the best epoch, the measures and the seconds are metrics, and the status
    is a hyperparameter, by which the tab can filter.

    A trial that has a run in the folder is not written again, so that a search can be
    added to while it runs.

    Args:
        rows: The rows of a search, as `SearchResults.rows` has them.
        folder: Where to write, for `tensorboard --logdir`; made if it is missing.

    Example:
    ```python
    results = SearchResults.load("runs/sharing")
    results.to_tensorboard("logs")  # then: tensorboard --logdir logs
    ```
    """
    import tensorflow as tf
    from tensorboard.plugins.hparams import api

    for row in rows:
        run = Path(folder, Path(row["trial_id"]).name)
        if run.is_dir():
            continue
        writer = tf.summary.create_file_writer(str(run))
        with writer.as_default(step=0):
            api.hparams(
                _choices(row),
                trial_id=row["trial_id"],
                start_time_secs=row.get("started"),
            )
            for name, value in _reached(row).items():
                tf.summary.scalar(name, value)
        writer.close()


def _choices(row: Row) -> dict[str, Any]:
    """What was chosen, in the types that TensorBoard knows."""
    patterns = {name: str(pattern) for name, pattern in chosen_patterns(row).items()}
    chosen = {"status": row["status"], **chosen_values(row), **patterns}
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in chosen.items()
        if value is not None  # in a scope that was not active
    }


def _reached(row: Row) -> dict[str, float]:
    values = {name: metric["value"] for name, metric in row["metrics"].items()}
    values |= {**row["measures"], row["objective"]: row["score"]}
    values |= {"parameters": row["parameters"], "seconds": row["seconds"]}
    return {name: float(v) for name, v in values.items() if v is not None}
