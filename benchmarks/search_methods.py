"""Search methods compared on tables of all patterns: what the README says of them.

    python benchmarks/search_methods.py [--seeds 50] [--table digits spoken]

Replays each method on the committed tables of `benchmarks/search_tables`: 50 trials,
each of which sees one of the trainings of its pattern. Prints the rank (1 is the best
of 203, by the mean of all seeds) of the best pattern tried and of the one that the
method would hand over, and the share of the hypervolume of accuracy and size that was
reached. Each search is one line of a CSV file, so that a run goes on where it was
interrupted; KerasTuner's BayesianOptimization takes 10 to 20 seconds for each.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process per core instead
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras_tuner as kt
import numpy as np
import optuna
import pandas as pd
from rich.progress import Progress
from search_tables.encodings import ENCODINGS
from search_tables.replay import ACCURACY, BYTES, WEIGHTED, Method, run
from search_tables.tables import Table

from keras_share import figures
from keras_share.search import SharingOracle
from keras_share.search.policies import POLICIES, SurrogatePolicy

MARKS = (10, 25, 50)
BOTH = [ACCURACY, BYTES]


def sharing(policy):
    """A maker of `SharingOracle`s."""
    return lambda **arguments: SharingOracle(
        policy=policy, storage=optuna.storages.InMemoryStorage(), **arguments
    )


def methods() -> dict[str, Method]:
    """All methods, by name."""
    weighted = kt.Objective(WEIGHTED, "max")
    found = []
    for name in POLICIES:
        for suffix, objective in (("", ACCURACY), (", both", BOTH)):
            method = Method(f"ours, {name}{suffix}", sharing(name), objective)
            found.append(replace(method, seed_step=1))
    repeating = SurrogatePolicy(repeat_every=4)
    method = Method("ours, surrogate, repeats", sharing(repeating), ACCURACY)
    found.append(replace(method, seed_step=1))
    for name, encoding in ENCODINGS.items():
        stock = kt.oracles.RandomSearchOracle
        found.append(Method(f"RandomSearch, {name}", stock, ACCURACY, encoding))
        stock = kt.oracles.BayesianOptimizationOracle
        found.append(Method(f"BayesianOptimization, {name}", stock, ACCURACY, encoding))
        found.append(
            Method(f"BayesianOptimization, {name}, both", stock, weighted, encoding)
        )
    return {method.name: method for method in found}


def one(table: str, name: str, seed: int, trials: int) -> list[dict[str, object]]:
    """One search: a row for each number of trials."""
    data = Table(table)
    replay = run(methods()[name], Table(table), seed, trials)
    curves = {
        "best_rank": replay.best_ranks(data),
        "handed_rank": replay.handed_ranks(data),
        "regret": data.truth.max() - data.truth[list(map(str, replay.handed_over))],
        "hypervolume": replay.hypervolumes(data),
    }
    # A method that ran out of proposals stays where it is.
    curves = {
        n: np.pad(np.asarray(c), (0, trials - len(c)), "edge")
        for n, c in curves.items()
    }
    return [
        {"table": table, "method": name, "seed": seed, "trials": number + 1}
        | {n: c[number] for n, c in curves.items()}
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
    means = groups[["best_rank", "handed_rank", "regret", "hypervolume"]].mean()
    means["rank_sd"] = groups["best_rank"].std()
    means["seeds"] = groups["seed"].nunique()
    return means.round({"best_rank": 1, "handed_rank": 1, "rank_sd": 1}).round(4)


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
    """Ours, and the best encoding of each stock method, at 25 trials."""
    at = results[results.trials == MARKS[1]].groupby("method")[column].mean()
    at = at.sort_values(ascending=column == "best_rank")
    kinds = ("ours, surrogate", "ours, evolution", "RandomSearch", "Bayesian")
    return [
        next(n for n in at.index if n.startswith(k))
        for k in kinds
        if any(n.startswith(k) for n in at.index)
    ]


def _chosen(asked: list[str]) -> list[str]:
    """Methods by their whole names, or else all that begin so."""
    names = list(methods())
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
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=Path("benchmark_results"))
    options = parser.parse_args()

    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "search_methods.csv"
    names = _chosen(options.method or [""])
    jobs = [
        (table, name, seed)
        for name in names
        for table in options.table
        for seed in range(options.seeds)
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
