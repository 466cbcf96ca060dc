"""`plan`: what a compression will try, and about how long it takes."""

import itertools
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner as kt

from keras_share.search.compression.job import Job
from keras_share.search.engine import Choice, Int
from keras_share.search.reporting.formats import format_seconds

_TIMED = 5  # steps


@dataclass(frozen=True)
class Plan:
    """What will be done.

    Attributes:
        sites: The number of sites of each kind of block.
        choices: What else than patterns is chosen, by its name.
        candidates: How many candidates there are.
        trials: How many of them are tried.
        files: How many files are made at most.
        objective: What they are chosen by.
        seconds: About how long all of it takes on this machine.
    """

    sites: Mapping[str, int]
    choices: Mapping[str, list]
    candidates: int
    trials: int
    files: int
    objective: str
    seconds: float

    def __str__(self) -> str:
        kinds = ", ".join(
            f"{count} sites from '{kind}' on" for kind, count in self.sites.items()
        )
        choices = "; ".join(
            f"{name} of {', '.join(map(str, values))}"
            for name, values in self.choices.items()
        )
        return (
            f"{kinds}: {self.candidates:,} candidates"
            f"{f' ({choices})' if choices else ''}. {self.trials} are tried for "
            f"{self.objective}, then up to {self.files} files are made: about "
            f"{format_seconds(self.seconds)}."
        )


def plan(job: Job) -> Plan:
    """Plans a compression; takes a few steps of training to see how long they take."""
    hp = kt.HyperParameters()
    job.designer.candidate(hp)
    choices = {
        one.name.rpartition("/")[2]: list(one.values)
        for one in hp.space
        if isinstance(one, Choice)
    }
    counts = {name: len(values) for name, values in choices.items()}
    ranks = counts.pop("sharing.rank", 1)
    if ranks > 1:
        counts["sharing.relax"] += ranks - 1  # of one of them each rank is a choice
    patterns = (one.max_value + 1 for one in hp.space if isinstance(one, Int))
    return Plan(
        job.designer.kinds,
        choices,
        math.prod([*patterns, *counts.values()]),
        job.trials,
        job.finalists + 2,
        job.objective.name,
        _seconds(job),
    )


class _Clock(keras.callbacks.Callback):
    """When each batch of a training ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.ends.append(time.monotonic())


def _seconds(job: Job) -> float:
    began, clock = time.monotonic(), _Clock()
    smallest = job.designer.smallest(job.quantizations[0])
    model = job.designer.build(smallest, trained=False)
    built = time.monotonic()
    steps = min(_TIMED, job.train.num_steps)
    fresh = job.originals.fresh()
    job.fit(model, 1, original=fresh, steps=steps, callbacks=[clock])
    first = clock.ends[0] - built  # most of it to trace
    times = [later - end for end, later in itertools.pairwise(clock.ends)]
    epoch = job.train.num_steps * (statistics.median(times) if times else first)
    # With rounded weights to trace takes about twice and a step two and a half times
    # as long.
    per_trial = 2 * (built - began) + 3 * first
    per_trial += (job.epochs + 2.5 * max(job.epochs // 3, 1)) * epoch
    longer = 1.5 * job.final_epochs * epoch + 2 * first
    return job.trials * per_trial + (job.finalists + 2) * (per_trial + longer)
