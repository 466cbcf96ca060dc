"""Records of searches that nobody ran, with known effects."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from keras_share import SharingPattern
from keras_share.search import SearchResults
from keras_share.search.project.record import TrialRecord
from keras_share.search.project.study import Project
from keras_share.search.space.pattern_space import PatternSpace

ONE = {"val_accuracy": "max"}
OBJECTIVES = {**ONE, "exported_bytes": "min"}


def search(
    trials=60, sites=6, names=("sharing",), seed=0, noise=0.004, objectives=ONE, **more
):
    """A search in which sites 0 and 1 should not share, and the last two should."""
    rng = np.random.default_rng(seed)
    records = [trial(i, rng, sites, names, noise) for i in range(trials)]
    return SearchResults(tuple(replace(r, **more) for r in records), objectives)


def trial(number, rng, sites=6, names=("sharing",), noise=0.004):
    """The record of one trial."""
    patterns = {
        name: SharingPattern(rng.integers(0, rng.integers(1, sites + 1), sites))
        for name in names
    }
    units, rate = int(rng.choice([16, 32, 64])), float(10 ** rng.uniform(-4, -2))
    groups = sum(pattern.num_groups for pattern in patterns.values())
    score = 0.9 + 0.05 * np.log2(units / 64) + rng.normal(0, noise)
    for pattern in patterns.values():
        score -= 0.06 * together(pattern, 0, 1)
        score += 0.03 * together(pattern, sites - 2, sites - 1)
        score -= 0.02 * (1 - pattern.num_groups / sites)
    size = 9_000 + groups * units * 90
    latency = 1 + units / 64 + 0.1 * rng.random()
    return TrialRecord(
        trial_id=f"{number:03}",
        status="COMPLETED",
        patterns=patterns,
        parameters=groups * units * 60,
        score=float(score),
        metrics={
            "val_accuracy": float(score),
            "val_loss": 1 - float(score),
        },
        measures={"exported_bytes": size, "latency_ms": latency},
        seconds=12.5 + units / 10,
        started=1.7e9 + 20 * number,
        ended=1.7e9 + 20 * number + 15,
        worker=f"tuner{number % 2}",
        hyperparameters={
            **{name: pattern.rank() for name, pattern in patterns.items()},
            "units": units,
            "learning_rate": rate,
            "dropout": False,
        },
    )


def unscored(number, status="FAILED", message="ValueError: no such <b>weights</b>"):
    """The record of a trial that has no score."""
    record = trial(number, np.random.default_rng(number))
    return replace(
        record,
        status=status,
        score=None,
        metrics={},
        measures=record.measures if status != "FAILED" else {},
        message=f"Traceback (most recent call last):\n  ...\n{message}\n",
    )


def together(pattern, i, j):
    """1 if two sites share, else 0."""
    return int(pattern.labels[i] == pattern.labels[j])


def with_failures(results, *statuses):
    """The results and a trial of each status after them."""
    more = (unscored(i, s) for i, s in enumerate(statuses, start=len(results)))
    return SearchResults((*results.records, *more), results.objectives)


def write(folder, results):
    """Writes the records of a search as the study of a project."""
    project = Project(folder, None, results.objectives)
    states = {"COMPLETED": "COMPLETE", "FAILED": "FAIL"}
    for row in results.records:
        numbers = row.numbers
        found = {
            **{"worker": row.worker, **numbers},
            **{n: str(pattern) for n, pattern in row.patterns.items()},
            **{
                f"{n}.patterns": str(PatternSpace(pattern.num_sites))
                for n, pattern in row.patterns.items()
            },
            "_measures": list(row.measures),
            **({"message": row.message} if row.message else {}),
            **({"_rejected": True} if row.status == "REJECTED" else {}),
        }
        distributions = {
            name: FloatDistribution(0, 100)
            if isinstance(value, float)
            else IntDistribution(0, 10**9)
            for name, value in row.hyperparameters.items()
        }
        completed = row.status == "COMPLETED"
        trial = create_trial(
            state=TrialState[states.get(row.status, "PRUNED")],
            params=row.hyperparameters,
            distributions=distributions,
            values=[numbers[n] for n in results.objectives] if completed else None,
            user_attrs=found,
        )
        trial.datetime_start = datetime.fromtimestamp(row.started)
        trial.datetime_complete = datetime.fromtimestamp(row.ended)
        project.study.add_trial(trial)
    return Path(folder)
