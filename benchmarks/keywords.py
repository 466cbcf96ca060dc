"""Keywords of unheard speakers: networks of the field and ours, in files of equal size.

    python benchmarks/keywords.py                           # spoken digits
    python benchmarks/keywords.py --data speech-commands    # ten words of it
    python benchmarks/keywords.py --data FOLDER or .npz

Four folds by speaker: each network is trained on three quarters of them and tested on
the others, with nothing chosen by the test. All have the width that just fits a budget
as an int8 file for TensorFlow Lite Micro, which takes the integers of the front end. A
row is appended after each training, and the same command goes on where it was stopped.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import pandas as pd
from keyword_parts.datasets import load_recordings
from keyword_runs.features import folds, load
from keyword_runs.networks import NETWORKS
from keyword_runs.report import report
from keyword_runs.training import Trainer, fitting_width
from rich.console import Console
from search_tables.training import single_core

from keras_share.atomic import write_atomically

FOLDER = Path(__file__).parent / "keyword_runs" / "results"
CACHE = Path(__file__).parents[1] / "build" / "keywords"
console = Console()


def run(
    source: str,
    folder: Path,
    cache: Path,
    *,
    networks: list[str],
    seeds: int,
    kilobytes: int,
    epochs: int,
    disguises: int,
) -> pd.DataFrame:
    """Trains what is missing in the table of a data set; returns the table."""
    recordings = load_recordings(source)
    tests = folds(recordings)
    features = load(recordings, disguises, cache)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{Path(source).stem}.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    trainers: dict[str, Trainer] = {}
    for seed in range(seeds):
        for fold, test in enumerate(tests):
            for name in networks:
                key = {"budget": kilobytes, "fold": fold, "network": name, "seed": seed}
                key["epochs"] = epochs
                if any(all(row[k] == v for k, v in key.items()) for row in rows):
                    continue
                if name not in trainers:
                    shape, words = features.shape[2:], len(recordings.words)
                    width = fitting_width(name, shape, words, 1000 * kilobytes)
                    trainers[name] = Trainer(
                        name, width, features, recordings.labels, epochs
                    )
                speakers = sorted(set(recordings.speakers[test]))
                row = {
                    "budget": kilobytes,
                    "fold": fold,
                    "speakers": speakers[0] if len(speakers) == 1 else len(speakers),
                    **trainers[name].run(test, seed),
                }
                rows.append(row)
                write_atomically(path, pd.DataFrame(rows).to_csv(index=False).encode())
                console.print(
                    f"{name} ({row['width']}), {row['bytes']:,} bytes, fold {fold}, "
                    f"seed {seed}: {row['accuracy']:.3f}, int8 {row['int8']:.3f}, "
                    f"{row['cpu_seconds']} s"
                )
    table = pd.DataFrame(rows)
    write_atomically(path.with_suffix(".md"), report(table).encode())
    return table


def main() -> None:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", default="spoken-digits", help="or speech-commands, a folder, an .npz")
    add("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    add("--seeds", type=int, default=5, help="trainings of each network in each fold")
    add("--kilobytes", type=int, default=20, help="of 1,000 bytes, of the int8 file")
    add("--epochs", type=int, default=120, help="of a training")
    add("--disguises", type=int, default=6, help="of each recording, computed once")
    add("--output", type=Path, default=FOLDER, help="folder of the table")
    options = vars(parser.parse_args())
    single_core()
    run(options.pop("data"), options.pop("output"), CACHE, **options)


if __name__ == "__main__":
    main()
