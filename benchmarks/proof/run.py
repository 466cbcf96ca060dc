"""Does sharing earn its place? Networks that share against the best that don't.

    python benchmarks/proof/run.py text --data text.txt
    python benchmarks/proof/run.py vision [--data FOLDER]
    python benchmarks/proof/run.py speech [--data spoken-digits]
    python benchmarks/proof/run.py text --data text.txt --quick   # under 15 minutes

At equal bytes of the int8 file: unshared networks over widths and depths, and the
patterns of the literature, each at the width that just fits. `protocol.py` says what is
trained and chosen. Works on one core; a row is appended after each training, and the
same command goes on where it was stopped. `report.py` makes the tables.
"""

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import pandas as pd
from rich.console import Console
from search_tables.training import single_core

from keras_share.atomic import write_atomically
from proof import latency
from proof.protocol import Plan, Protocol
from proof.sizes import Sizes
from proof.speech import Speech
from proof.task import Data, Task
from proof.text import Text
from proof.training import Job, train
from proof.vision import Vision

TASKS = {task.name: task for task in (Text, Vision, Speech)}
FOLDER = Path(__file__).parent / "results"
QUICK_STEPS = 300
console = Console()


def run(task: Task, budget: int, plan: Plan, folder: Path) -> None:
    """Trains what is missing in the task's table."""
    path = folder / f"{task.name}.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {tuple(row[name] for name in Job.__annotations__) for row in rows}
    loaded: dict[int, Data] = {}
    for job in Protocol(task, budget, plan, Sizes(folder / "sizes.csv"), rows).jobs():
        if tuple(asdict(job).values()) in done:
            continue
        if job.seed not in loaded:
            loaded = {job.seed: task.load(job.seed)}
        file = folder / latency.file_name(job) if job.stage == "confirm" else None
        row = train(task, loaded[job.seed], job, file)
        rows.append(row)
        write_atomically(path, pd.DataFrame(rows).to_csv(index=False).encode())
        score = row.get("test_int8", row["val"])
        console.print(
            f"{task.name} {budget} KB {job.stage} {job.candidate} ({job.width}), "
            f"rate {job.rate}, seed {job.seed}: {score:.4f}, {row['cpu_seconds']} s"
        )


def main() -> None:
    """Runs a task."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("task", choices=TASKS)
    add("--data", help="text: a file; vision, speech: a folder, or else fetched")
    add("--budgets", type=int, nargs="+", help="kilobytes of the int8 file")
    add("--steps", type=int, help="of each training")
    add("--longer", type=int, default=1, help="times as many steps for finalists")
    add("--seeds", type=int, default=5, help="of each finalist")
    add("--explore", type=int, default=2, help="seeds of each other candidate")
    add("--finalists", type=int, default=2, help="of either side")
    add("--quick", action="store_true", help="one budget, short trainings, 2 seeds")
    add("--output", type=Path, help=f"folder; by default {FOLDER}")
    options = parser.parse_args()
    single_core()
    task = TASKS[options.task](options.data)
    plan = Plan(options.explore, options.seeds, options.finalists, options.longer)
    if options.quick:
        plan = Plan(explore=1, confirm=2, finalists=1)
        task.steps = QUICK_STEPS
        task.rates = task.rates[1:2]
    task.steps = options.steps or task.steps
    folder = options.output or FOLDER / ("quick" if options.quick else "")
    folder.mkdir(parents=True, exist_ok=True)
    for budget in options.budgets or task.budgets[: 1 if options.quick else None]:
        run(task, budget, plan, folder)
    latency.measure(task.name, folder)


if __name__ == "__main__":
    main()
