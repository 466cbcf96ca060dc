"""Search methods compared on tables of all patterns: what the README says of them.

    python benchmarks/search_methods.py [--seeds 50] [--table digits spoken]
    python benchmarks/search_methods.py --both --trials 100 --table digits-12 spoken-12

Replays each method on the committed tables of `benchmarks/search_tables`, each trial of
which sees one of the trainings of its pattern, or on synthetic tasks of twelve sites in
their likeness. Prints the rank (1 is the best, by the mean of all seeds) of the best
pattern tried and of the one that the method would hand over, and the share of the
hypervolume of accuracy and size that was reached. A search is one line of a CSV file,
so that a run goes on where it was interrupted. KerasTuner's BayesianOptimization takes
10 to 20 seconds for each, Optuna's GPSampler as long: it needs PyTorch, and is left out
without.
"""

import argparse
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process per core instead
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras_tuner as kt
import numpy as np
import optuna
import pandas as pd
from optuna.samplers import GPSampler, NSGAIISampler, RandomSampler, TPESampler
from rich.progress import Progress
from search_tables.encodings import KERAS_TUNER, OPTUNA
from search_tables.replay import (
    MARKS,
    Method,
    Replay,
    Task,
    with_keras_tuner,
    with_optuna,
)
from search_tables.synthetic import SITES, Synthetic
from search_tables.tables import Table

from keras_share import figures
from keras_share.search import SharingSampler, suggest_pattern
from keras_share.search.policies import POLICIES, SurrogatePolicy

# One number orders patterns as no objective does: these have populations as small as
# ours, as 50 trials are no generation of the usual one.
SAMPLERS = {
    "Optuna's TPE": lambda seed: TPESampler(seed=seed),
    "Optuna's GPSampler": lambda seed: GPSampler(seed=seed),
    "Optuna's NSGA-II": lambda seed: NSGAIISampler(seed=seed, population_size=12),
    "Optuna's RandomSampler": lambda seed: RandomSampler(seed=seed),
}
if find_spec("torch") is None:
    del SAMPLERS["Optuna's GPSampler"]
ORACLES = {
    "KerasTuner's RandomSearch": kt.oracles.RandomSearchOracle,
    "KerasTuner's BayesianOptimization": kt.oracles.BayesianOptimizationOracle,
}


def methods() -> dict[str, Method]:
    """All methods, by name."""
    found = {}
    repeating = SurrogatePolicy(repeat_every=4)
    for both, suffix in ((False, ""), (True, ", both")):
        for name, policy in {**{n: n for n in POLICIES}, "repeats": repeating}.items():
            sampler = partial(_ours, policy, (1,) if both else ())
            found[f"ours, {name}{suffix}"] = with_optuna(sampler, suggest_pattern, both)
        for kinds, encodings, run in (
            (SAMPLERS, OPTUNA, with_optuna),
            (ORACLES, KERAS_TUNER, with_keras_tuner),
        ):
            for name, make in kinds.items():
                for kind, encoding in encodings.items():
                    method = run(make, encoding, both)
                    found[f"{name}, {kind}{suffix}"] = method
    return found


def _ours(policy: object, sizes: tuple[int, ...], seed: int) -> SharingSampler:
    return SharingSampler(policy, seed=seed, sizes=sizes)


@lru_cache(maxsize=4)  # its reference takes seconds
def _synthetic(name: str, seed: int) -> Synthetic:
    return Synthetic(name, seed)


def task_of(name: str, seed: int) -> Task:
    """A task by its name; synthetic ones are of the seed, too."""
    return _synthetic(name, seed) if name.endswith(f"-{SITES}") else Table(name)


def one(table: str, name: str, seed: int, trials: int) -> list[dict[str, object]]:
    """One search: a row for each number of trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    task = task_of(table, seed)
    replay = Replay(task, seed)
    started = time.process_time()
    methods()[name](replay, trials)
    seconds = time.process_time() - started
    curves = {
        "best_rank": replay.best_ranks(),
        "handed_rank": replay.handed_ranks(),
        "hypervolume": replay.hypervolumes(),
    }
    # A method that ran out of proposals stays where it is.
    curves = {
        n: np.pad(np.asarray(c), (0, trials - len(c)), "edge")
        for n, c in curves.items()
    }
    return [
        {"table": table, "method": name, "seed": seed, "trials": number + 1}
        | {n: c[number] for n, c in curves.items()}
        | {"seconds": round(seconds, 2)}
        for number in range(trials)
    ]


def replay_all(
    path: Path, jobs: list[tuple[str, str, int]], trials: int, workers: int
) -> None:
    """Runs the searches that the CSV file lacks."""
    keys = ["table", "method", "seed"]
    done: set[tuple] = set()
    if path.exists():
        done = set(pd.read_csv(path)[keys].itertuples(index=False, name=None))
    left = [job for job in jobs if job not in done]
    with Progress() as progress, ProcessPoolExecutor(workers) as pool:
        bar = progress.add_task("searches", total=len(left))
        futures = [pool.submit(one, *job, trials) for job in left]
        for future in as_completed(futures):
            rows = pd.DataFrame(future.result())
            rows.to_csv(path, mode="a", header=not path.exists(), index=False)
            progress.advance(bar)


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds at the marks, with the spread of the ranks."""
    at = results[results.trials.isin(MARKS)]
    groups = at.groupby(["table", "method", "trials"])
    columns = ["best_rank", "handed_rank", "hypervolume", "seconds"]
    means = groups[columns].mean()
    means["rank_sd"] = groups["best_rank"].std()
    means["seeds"] = groups["seed"].nunique()
    return means.round(
        {"best_rank": 1, "handed_rank": 1, "rank_sd": 1, "seconds": 1}
    ).round(4)


def plot(results: pd.DataFrame, path: Path) -> None:
    """Curves of the best method of each kind, with quartiles over the seeds."""
    tables = list(results.table.unique())
    figure = figures.new_figure(9, 3.4 * len(tables))
    axes = figure.subplots(len(tables), 2, squeeze=False)
    for row, table in zip(axes, tables, strict=True):
        of_table = results[results.table == table]
        for ax, column, title in zip(
            row,
            ["best_rank", "hypervolume"],
            ["rank of the best pattern tried", "share of the hypervolume"],
            strict=True,
        ):
            for name in _best_of_kind(of_table, column):
                groups = of_table[of_table.method == name].groupby("trials")[column]
                (line,) = ax.plot(groups.mean(), label=name)
                ax.fill_between(
                    groups.mean().index,
                    *(groups.quantile(q) for q in (0.25, 0.75)),
                    alpha=0.15,
                    color=line.get_color(),
                )
            ax.set_title(f"{table}: {title}", fontsize=9)
            ax.set_xlabel("trials")
            figures.tidy(ax)
            ax.legend(fontsize=7)
        row[0].set_yscale("log")
    figures.save(figure, path)


def _best_of_kind(results: pd.DataFrame, column: str) -> list[str]:
    """Ours, and the best encoding of each other method, at 25 trials."""
    at = results[results.trials == MARKS[1]].groupby("method")[column].mean()
    at = at.sort_values(ascending=column == "best_rank")
    kinds = ("ours, surrogate", "ours, evolution", *SAMPLERS, *ORACLES)
    found = [next((n for n in at.index if n.startswith(k)), None) for k in kinds]
    return [name for name in found if name is not None]


def _chosen(asked: list[str], both: bool) -> list[str]:
    """Methods by their whole names, or else all that begin so."""
    names = [name for name in methods() if name.endswith(", both") or not both]
    return [
        name
        for name in names
        if any(name == a or (a not in names and name.startswith(a)) for a in asked)
    ]


def main() -> None:
    """Replays what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--table", nargs="+", default=["digits", "spoken"])
    parser.add_argument("--method", nargs="+", help="only these, or what begins so")
    parser.add_argument(
        "--both", action="store_true", help="only searches for accuracy and size"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=Path("benchmark_results"))
    options = parser.parse_args()

    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "search_methods.csv"
    names = _chosen(options.method or [""], options.both)
    jobs = [
        (table, name, seed)
        for seed in range(options.seeds)
        for table in options.table
        for name in names
    ]
    replay_all(path, jobs, options.trials, options.workers)
    results = pd.read_csv(path)
    table = summary(results)
    table.to_csv(options.output / "search_methods_means.csv")
    with pd.option_context("display.max_rows", None, "display.width", 140):
        print(table)
    plot(results, options.output / "search_methods.png")


if __name__ == "__main__":
    main()
