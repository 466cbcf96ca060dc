"""How much memory a search takes, with one process and with a new one now and then.

    python benchmarks/search_memory.py [--trials 200] [--trials-per-process 25]

Trains a small network for an epoch in each trial. TensorFlow keeps some memory of every
model until its process ends, so that one process grows with each trial, and
`trials_per_process` bounds what it takes.
"""

import argparse
import multiprocessing
import os
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from keras_share.search import SharingSearch, sharing_pattern


def build(hp: object) -> keras.Model:
    """Six dense layers in groups."""
    pattern = sharing_pattern(hp, 6)
    layers = [keras.layers.Dense(32, activation="relu") for _ in pattern.groups]
    inputs = outputs = keras.Input((32,))
    for label in pattern.labels:
        outputs = layers[label](outputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(outputs))
    model.compile("adam", "mse")
    return model


def megabytes() -> float:
    """Memory of this process that is in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def search(folder: str, trials: int, trials_per_process: int | None) -> None:
    """Searches in this process; notes its memory after each trial."""

    class Noting(SharingSearch):
        def on_trial_end(self, trial: object) -> None:
            super().on_trial_end(trial)
            with Path(folder, "megabytes").open("a") as file:
                file.write(f"{megabytes()}\n")

    x = np.zeros((64, 32), "float32")
    tuner = Noting(
        build,
        "loss",
        trials,
        "random",
        export=None,
        seed=1,
        directory=folder,
        trials_per_process=trials_per_process,
    )
    tuner.search(x, x[:, :1], epochs=1, verbose=0)


def memory(trials: int, trials_per_process: int | None) -> pd.Series:
    """Memory after each trial, in MB."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(-(-trials // (trials_per_process or trials))):
            arguments = (folder, trials, trials_per_process)
            process = context.Process(target=search, args=arguments)
            process.start()
            process.join()
        return pd.Series(Path(folder, "megabytes").read_text().split(), dtype=float)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--trials-per-process", type=int, default=25)
    arguments = parser.parse_args()
    rows = {}
    for limit in (None, arguments.trials_per_process):
        used = memory(arguments.trials, limit)
        assert len(used) == arguments.trials
        rows[limit or "all"] = {
            "MB after the first trial": used.iloc[0],
            "MB after the last": used.iloc[-1],
            "most MB": used.max(),
            "MB per trial": (used.max() - used.iloc[0]) / len(used),
        }
    table = pd.DataFrame(rows).T.rename_axis("trials per process")
    print(table.round(1).to_string())


if __name__ == "__main__":
    main()
