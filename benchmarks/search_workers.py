"""How many trials a second many workers end on one storage, if trials cost nothing.

    python benchmarks/search_workers.py postgresql://user@host/database

For each sampler so many processes run one study: ours, and Optuna's GPSampler where
PyTorch is installed. Prints the trials that all of them ended a second, from the first
32 on, when all processes have started.
"""

import argparse
import os
import subprocess
import sys
import time
import warnings
from importlib.util import find_spec

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process per core instead

import optuna

SITES = 6
STARTED = 32  # trials after which the clock runs


def work(name: str, storage: str, study: str, trials: int, seed: int) -> None:
    """What one process does."""
    warnings.simplefilter("ignore")
    if name == "GPSampler":
        sampler = optuna.samplers.GPSampler(seed=seed)

        def objective(trial: optuna.Trial) -> float:
            ids = [trial.suggest_categorical(f"s{i}", "ABCDEF") for i in range(SITES)]
            return len(set(ids)) + ids.count("A") / 10
    else:
        from keras_share.search import SharingSampler, suggest_pattern

        sampler = SharingSampler(seed=seed)

        def objective(trial: optuna.Trial) -> float:
            pattern = suggest_pattern(trial, num_sites=SITES)
            return pattern.num_groups + str(pattern).count("A") / 10

    states = (optuna.trial.TrialState.COMPLETE,)
    optuna.load_study(study_name=study, storage=storage, sampler=sampler).optimize(
        objective, callbacks=[optuna.study.MaxTrialsCallback(trials, states)]
    )


def rate(name: str, storage: str, trials: int, workers: int) -> float:
    """Trials that all workers ended a second."""
    study = optuna.create_study(
        study_name=f"search_workers_{name}_{time.time():.0f}", storage=storage
    )
    command = [sys.executable, __file__, storage, "--trials", str(trials)]
    command += ["--work", name, "--study", study.study_name]
    running = [
        subprocess.Popen([*command, "--seed", str(seed)]) for seed in range(workers)
    ]
    if any([process.wait() for process in running]):
        raise SystemExit("A worker failed; see above.")
    ends = sorted(t.datetime_complete for t in study.trials if t.datetime_complete)
    return (len(ends) - STARTED) / (ends[-1] - ends[STARTED - 1]).total_seconds()


def main() -> None:
    """Reads the command line and runs, or works for another process that does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("storage", help="URL of a database")
    add("--workers", type=int, default=16)
    add("--trials", type=int, default=200)
    for name in ("--work", "--study", "--seed"):
        add(name, help=argparse.SUPPRESS)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if given.work:
        work(given.work, given.storage, given.study, given.trials, int(given.seed))
        return
    names = ["SharingSampler", *(["GPSampler"] if find_spec("torch") else [])]
    for name in names:
        found = rate(name, given.storage, given.trials, given.workers)
        print(f"{name}: {found:.1f} trials a second, {given.workers} workers")


if __name__ == "__main__":
    main()
