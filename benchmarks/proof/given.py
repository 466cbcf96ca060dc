"""A network that you have: what it costs to tie it, at its own width.

    python benchmarks/proof/given.py text --data text.txt
    python benchmarks/proof/given.py vision [--data FOLDER]
    python benchmarks/proof/given.py speech [--data spoken-digits]

Eight blocks that share nothing are trained, tied on some of their data, and trained on;
the rival trains on as long and shares nothing. All become int8 files, which are scored
on the test set. Works on one core; a row is appended after each file, and the same
command goes on where it was stopped.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import keras
import numpy as np
import pandas as pd
from rich.console import Console
from scipy import stats
from search_tables.training import single_core

import keras_share as ks
from keras_share.atomic import write_atomically
from proof.block import PRIVATE
from proof.candidate import Candidate
from proof.report import markdown
from proof.run import FOLDER, TASKS
from proof.task import Task
from proof.training import SAMPLES, as_int8, fit

SITES = "ABCDEFGH"
PATTERNS = ("unshared", "sequence:4", "sequence:2", "shared")
RATES = {"text": 0.032, "vision": 0.016, "speech": 0.004}  # as the proof tuned them
console = Console()


def rows(task: Task, width: int, seed: int, again: float, done: set) -> Iterator[dict]:
    """Trains a network, and on each of its tied forms whose pattern is not `done`."""
    if done.issuperset(PATTERNS):
        return
    keras.utils.set_random_seed(seed)
    data, rate = task.load(seed), RATES[task.name]
    first, second = (
        task.batches(data, np.random.default_rng((seed, i)), task.steps)
        for i in range(2)
    )
    model = task.network(Candidate(SITES), width)
    fit(model, *first, rate, task)
    for pattern in PATTERNS:
        if pattern in done:
            continue
        if pattern == "unshared":
            tied = ks.untie(model)
        else:
            samples = first[0][:SAMPLES]
            tied = ks.share(model, pattern, private=PRIVATE, data=samples)
        fit(tied, *second, again * rate, task)
        scores = as_int8(tied, *second, again * rate, task, data)[1]
        yield {
            "task": task.name,
            "pattern": pattern,
            "width": width,
            "steps": task.steps,
            "again": again,
            "seed": seed,
            "parameters": tied.count_params(),
            **scores,
        }
    keras.utils.clear_session()


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds, and differences to the network that shares nothing."""
    found = []
    for (task, pattern), group in frame.groupby(["task", "pattern"], sort=False):
        rival = frame[(frame.task == task) & (frame.pattern == "unshared")]
        own, other = (g.set_index("seed").test_int8 for g in (group, rival))
        differs = pattern != "unshared" and len(own) > 1
        found.append(
            {
                "task": task,
                "pattern": pattern,
                "int8 bytes": f"{group.bytes.mean():,.0f}",
                "of the rival's": f"{group.bytes.mean() / rival.bytes.mean():.2f}",
                TASKS[task].unit: f"{own.mean():.4f} ± {own.std():.4f}",
                "difference": f"{(own - other).mean():+.4f}" if differs else "",
                "p": f"{stats.ttest_rel(own, other).pvalue:.3f}" if differs else "",
            }
        )
    return pd.DataFrame(found)


def main() -> None:
    """Runs a task, and prints its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("task", choices=TASKS)
    add("--data", help="text: a file; vision, speech: a folder, or else fetched")
    add("--width", type=int, default=32, help="channels of the blocks")
    add("--seeds", type=int, default=5)
    add("--steps", type=int, help="of each of both trainings")
    add("--again", type=float, default=1.0, help="rate after tying, over that before")
    add("--output", type=Path, default=FOLDER / "given.csv")
    options = parser.parse_args()
    single_core()
    task = TASKS[options.task](options.data)
    task.steps = options.steps or task.steps
    path = options.output
    known = pd.read_csv(path).to_dict("records") if path.exists() else []
    asked = {
        "task": task.name,
        "width": options.width,
        "steps": task.steps,
        "again": options.again,
    }
    for seed in range(options.seeds):
        wanted = {**asked, "seed": seed}.items()
        done = {row["pattern"] for row in known if wanted <= row.items()}
        for row in rows(task, options.width, seed, options.again, done):
            known.append(row)
            write_atomically(path, pd.DataFrame(known).to_csv(index=False).encode())
            console.print(*row.values())
    own = [row for row in known if asked.items() <= row.items()]
    print(markdown(table(pd.DataFrame(own))))


if __name__ == "__main__":
    main()
