"""Rows of searches that nobody ran, with known effects."""

import itertools

import numpy as np

from keras_share import SharingPattern
from keras_share.search import SearchResults

OBJECTIVES = [
    {"name": "val_accuracy", "direction": "max"},
    {"name": "exported_bytes", "direction": "min"},
]
LATENCY = {"name": "latency_ms", "direction": "min"}


def search(
    trials=60, sites=6, names=("sharing",), seed=0, noise=0.004, objectives=None, **more
):
    """A search in which sites 0 and 1 should not share, and the last two should."""
    rng = np.random.default_rng(seed)
    rows = [
        trial(i, rng, sites, names, noise, objectives) | more for i in range(trials)
    ]
    main = (objectives or OBJECTIVES)[0]
    return SearchResults(tuple(rows), main["name"], main["direction"])


def trial(number, rng, sites=6, names=("sharing",), noise=0.004, objectives=None):
    """The row of one trial."""
    patterns = {
        name: SharingPattern(rng.integers(0, rng.integers(1, sites + 1), sites))
        for name in names
    }
    units, rate = int(rng.choice([16, 32, 64])), float(10 ** rng.uniform(-4, -2))
    text = [str(pattern) for pattern in patterns.values()]
    groups = sum(pattern.num_groups for pattern in patterns.values())
    score = 0.9 + 0.05 * np.log2(units / 64) + rng.normal(0, noise)
    for pattern in patterns.values():
        score -= 0.06 * together(pattern, 0, 1)
        score += 0.03 * together(pattern, sites - 2, sites - 1)
        score -= 0.02 * (1 - pattern.num_groups / sites)
    size = 9_000 + groups * units * 90
    latency = 1 + units / 64 + 0.1 * rng.random()
    accuracy = {"value": float(score), "direction": "max"}
    return {
        "trial_id": f"{number:03}",
        "status": "COMPLETED",
        "pattern": text[0]
        if len(names) == 1
        else " ".join(map("=".join, zip(names, text, strict=True))),
        "patterns": dict(zip(names, text, strict=True)),
        "num_groups": groups,
        "parameters": groups * units * 60,
        "objective": "val_accuracy",
        "direction": "max",
        **({"objectives": objectives} if objectives else {}),
        "score": float(score),
        "metrics": {
            "val_accuracy": accuracy,
            "val_loss": {"value": 1 - float(score), "direction": "min"},
        },
        "measures": {"exported_bytes": size, "latency_ms": latency},
        "seconds": 12.5 + units / 10,
        "started": 1.7e9 + 20 * number,
        "ended": 1.7e9 + 20 * number + 15,
        "worker": f"tuner{number % 2}",
        "hyperparameters": {
            **{name: pattern.rank() for name, pattern in patterns.items()},
            "units": units,
            "learning_rate": rate,
            "dropout": False,
        },
        "message": None,
    }


def unscored(number, status="FAILED", message="ValueError: no such <b>weights</b>"):
    """The row of a trial that has no score."""
    row = trial(number, np.random.default_rng(number))
    measures = row["measures"] if status != "FAILED" else {}
    traceback = f"Traceback (most recent call last):\n  ...\n{message}\n"
    return row | {
        "status": status,
        "score": None,
        "metrics": {},
        "measures": measures,
        "message": traceback,
    }


def together(pattern, i, j):
    """1 if two sites share, else 0."""
    return int(pattern.labels[i] == pattern.labels[j])


def with_failures(results, *statuses):
    """The results and a trial of each status after them."""
    count = itertools.count(len(results.rows))
    more = tuple(unscored(next(count), status) for status in statuses)
    return SearchResults(results.rows + more, results.objective, results.direction)
