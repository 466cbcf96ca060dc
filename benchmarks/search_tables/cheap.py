"""How well cheap scores rank patterns: Kendall's tau against full training.

    python benchmarks/search_tables/cheap.py --table digits
    python benchmarks/search_tables/cheap.py --table spoken --data spoken-digits

Makes `digits_cheap.csv` or `spoken_cheap.csv`, on one core, draw by draw, and prints
taus; what is in the file is not run again.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import numpy as np
import pandas as pd
from rich.console import Console

from keras_share import SharingPattern
from keras_share.atomic import write_atomically
from search_tables.data import load as load_data
from search_tables.inheritance import SEED, changes, donor, fitted, merged
from search_tables.network import NUM_SITES
from search_tables.signals import SIGNALS
from search_tables.tables import FOLDER, load
from search_tables.taus import taus
from search_tables.training import Trainer, initial_weights, single_core

DRAWS = 2  # donors, and seeds of what starts from scratch
console = Console()


def run_draw(
    trainer: Trainer, x: np.ndarray, draw: int, names: list[str]
) -> pd.DataFrame:
    """Signals of one donor or seed, by pattern; and the errors of merging."""
    donors = {start: donor(trainer, start, draw) for start in ("apart", "alike")}
    changed = changes(donors["apart"], x)
    rows = []
    for pattern in SharingPattern.all(NUM_SITES):
        rng = np.random.default_rng([SEED + draw, pattern.rank()])
        starts = {"scratch": initial_weights(rng)}
        row = {f"change_{draw}": changed[str(pattern)]}
        for start, weights in donors.items():
            starts[start], row[f"{start}_error_{draw}"] = merged(weights, pattern)
        starts["fitted"] = fitted(donors["apart"], pattern, x)
        batches = trainer.batches(rng)
        for name in names:
            signal = SIGNALS[name]
            weights = starts[signal.start]
            if signal.part:
                _, [score] = trainer.train(
                    weights,
                    pattern.labels,
                    batches,
                    peak=signal.peak,
                    steps=round(signal.part * trainer.steps),
                )
            else:
                score = trainer.score(weights, pattern.labels)
            row[f"{name}_seed_{draw}"] = score.accuracy
            row[f"{name}_loss_{draw}"] = score.loss
        rows.append(row)
    return pd.DataFrame(rows).round(5)


def make(table: str, source: str, draws: int) -> None:
    """Makes or completes the file of a table."""
    single_core()
    path = FOLDER / f"{table}_cheap.csv"
    frame = pd.read_csv(path) if path.exists() else load(table)[["pattern"]]
    data = load_data(table, source)
    trainer = Trainer(data)
    for draw in range(draws):
        names = [name for name in SIGNALS if f"{name}_seed_{draw}" not in frame]
        if not names and f"change_{draw}" in frame:
            continue
        start = time.perf_counter()
        new = run_draw(trainer, data.x, draw, names)
        new = new[[column for column in new if column not in frame]]
        frame = pd.concat([frame, new], axis=1)
        write_atomically(path, frame.to_csv(index=False).encode())
        seconds = time.perf_counter() - start
        console.print(f"{table}, draw {draw}: {seconds:.0f} seconds")


def main() -> None:
    """Makes a file or prints the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", choices=["digits", "spoken"], required=True)
    parser.add_argument(
        "--data",
        default="spoken-digits",
        help="recordings of the spoken digits: fetched, a folder or an .npz",
    )
    parser.add_argument("--draws", type=int, default=DRAWS)
    options = parser.parse_args()
    make(options.table, options.data, options.draws)
    print(taus(options.table).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
