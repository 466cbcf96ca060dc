"""The trials of a search for TensorBoard's HParams tab."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_share.search.project.record import TrialRecord


def write_hparams(records: Iterable[TrialRecord], folder: str | os.PathLike) -> None:
    """Writes one run for each trial: its hyperparameters and what it reached.

    KerasTuner itself logs HParams where `search` is given a
    `keras.callbacks.TensorBoard`, and a pattern then is the number of its place in
    the list of all patterns. Here it is a text such as `AABA`. The objective, the other
    metrics at the best epoch, the measures and the seconds are metrics, and the status
    is a hyperparameter, by which the tab can filter.

    A trial that has a run in the folder is not written again, so that a search can be
    added to while it runs.

    Args:
        records: Of a search, as `SearchResults.records` has them.
        folder: Where to write, for `tensorboard --logdir`; made if it is missing.

    Example:
    ```python
    results = SearchResults.load("runs/sharing")
    results.to_tensorboard("logs")  # then: tensorboard --logdir logs
    ```
    """
    import tensorflow as tf
    from tensorboard.plugins.hparams import api

    for record in records:
        run = Path(folder, Path(record.trial_id).name)
        if run.is_dir():
            continue
        writer = tf.summary.create_file_writer(str(run))
        with writer.as_default(step=0):
            api.hparams(
                _choices(record),
                trial_id=record.trial_id,
                start_time_secs=record.started,
            )
            for name, value in _reached(record).items():
                tf.summary.scalar(name, value)
        writer.close()


def _choices(record: TrialRecord) -> dict[str, Any]:
    """What was chosen, in the types that TensorBoard knows."""
    patterns = {name: str(pattern) for name, pattern in record.patterns.items()}
    chosen = {"status": record.status, **record.values, **patterns}
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in chosen.items()
        if value is not None  # in a scope that was not active
    }


def _reached(record: TrialRecord) -> dict[str, float]:
    values = {**record.numbers, record.objective: record.score}
    values["seconds"] = record.seconds
    return {name: float(v) for name, v in values.items() if v is not None}
