"""Makes the tables: every pattern of six sites, trained with several seeds.

    python benchmarks/search_tables/make.py --table digits
    python benchmarks/search_tables/make.py --table spoken --data spoken-digits

Works on one core, seed by seed, and writes the table after each: what is in it is not
trained again, and `--seeds 40` extends it.
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
from search_tables.data import load
from search_tables.network import NUM_SITES
from search_tables.sizes import sizes
from search_tables.tables import FOLDER
from search_tables.training import Trainer, initial_weights, single_core

SEEDS = 10
console = Console()


def patterns() -> list[SharingPattern]:
    """All 203, in order."""
    return list(SharingPattern.all(NUM_SITES))


def train_all(trainer: Trainer, seed: int) -> pd.DataFrame:
    """Scores of one seed by pattern: after a full training and after its first tenth.

    Weights and order of samples are drawn anew for each pattern, so that its seeds are
    independent of those of others.
    """
    rows = []
    for pattern in patterns():
        rng = np.random.default_rng([seed, pattern.rank()])
        _, (tenth, full) = trainer.train(
            initial_weights(rng),
            pattern.labels,
            trainer.batches(rng),
            pause=trainer.steps // 10,
        )
        rows.append(
            {
                f"seed_{seed}": full.accuracy,
                f"loss_{seed}": full.loss,
                f"tenth_{seed}": tenth.accuracy,
                f"tenth_loss_{seed}": tenth.loss,
            }
        )
    return pd.DataFrame(rows).round(5)


def main() -> None:
    """Makes or completes a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", choices=["digits", "spoken"], required=True)
    parser.add_argument(
        "--data",
        default="spoken-digits",
        help="recordings of the spoken digits: fetched, a folder or an .npz",
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    single_core()
    path = FOLDER / f"{options.table}.csv"
    table = sizes()
    if path.exists():
        scores = pd.read_csv(path).drop(columns=table.columns)
        table = pd.concat([table, scores], axis=1)
    write_atomically(path, table.to_csv(index=False).encode())
    trainer = Trainer(load(options.table, options.data))
    for seed in range(options.seeds):
        if f"seed_{seed}" in table:
            continue
        start = time.perf_counter()
        table = pd.concat([table, train_all(trainer, seed)], axis=1)
        write_atomically(path, table.to_csv(index=False).encode())
        console.print(
            f"{options.table}, seed {seed}: {time.perf_counter() - start:.0f} seconds, "
            f"mean accuracy {table[f'seed_{seed}'].mean():.4f}"
        )


if __name__ == "__main__":
    main()
