"""Which trainings the proof needs, in order; what is chosen on the way.

For each task and budget:

1. *tune*: either side's peak rate, one seed, by one candidate of each.
2. *explore*: every candidate at the width that just fits the budget, few seeds.
3. *confirm*: the best of either side with new seeds, as int8 files on the test set;
   and the best sharing one without its sharing, at the same width: what the bytes of
   sharing would buy if they were free.

All choices are by the validation set, and follow from the rows of earlier stages alone:
a run that was stopped goes on where it was.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from proof.candidate import Candidate
from proof.sizes import Sizes
from proof.task import Task
from proof.training import Job

SIDES = ("unshared", "shared")
CONFIRM_SEED = 100  # the first one; those before are for choosing


@dataclass(frozen=True)
class Plan:
    """How much is run.

    Args:
        explore: Seeds of each candidate.
        confirm: Seeds of each finalist.
        finalists: Of either side.
        longer: How many times the steps of the others the finalists are trained.
    """

    explore: int = 2
    confirm: int = 5
    finalists: int = 2
    longer: int = 1


class Protocol:
    """The trainings of a task at a budget.

    Args:
        task: The task.
        budget: Kilobytes.
        plan: How much is run.
        sizes: Finds widths.
        rows: What was trained, of any task, budget and length of training; grows while
            `jobs` is followed.
    """

    def __init__(
        self, task: Task, budget: int, plan: Plan, sizes: Sizes, rows: list[dict]
    ):
        self.task = task
        self.budget = budget
        self.plan = plan
        self.sizes = sizes
        self.rows = rows

    def jobs(self) -> Iterator[Job]:
        """All of them; each stage waits for the rows of the one before."""
        for name in self.task.tuned_by:
            for rate in self.task.rates:
                yield self._job("tune", Candidate(name), rate, 0)
        for seed in range(self.plan.explore):
            for name in self.task.candidates:
                candidate = Candidate(name)
                yield self._job("explore", candidate, self.rate(candidate), seed)
        chosen = [(c, None) for side in SIDES for c in self.finalists(side)]
        best = self.finalists("shared")[0]
        wider = [(best.unshared(), self._width(best))]
        for networks in (chosen, wider):
            for seed in range(CONFIRM_SEED, CONFIRM_SEED + self.plan.confirm):
                for candidate, width in networks:
                    rate = self.rate(candidate)
                    yield self._job("confirm", candidate, rate, seed, width)

    def rate(self, candidate: Candidate) -> float:
        """The rate of the candidate's side."""
        tuned = self.frame("tune")
        tuned = tuned[tuned.side == candidate.side]
        return float(tuned.rate[(self.task.sign * tuned.val).idxmax()])

    def finalists(self, side: str) -> list[Candidate]:
        """The best of a side by the mean over the seeds of exploring."""
        explored = self.frame("explore")
        explored = explored[explored.side == side]
        means = self.task.sign * explored.groupby("candidate").val.mean()
        names = means.sort_values(ascending=False).index[: self.plan.finalists]
        return [Candidate(name) for name in names]

    def frame(self, stage: str) -> pd.DataFrame:
        """The rows of a stage of this task, budget and length of training."""
        key = (self.task.name, self.budget, self.task.steps, stage)
        keys = ("task", "budget", "steps", "stage")
        return pd.DataFrame(
            row for row in self.rows if tuple(row[k] for k in keys) == key
        )

    def _width(self, candidate: Candidate) -> int:
        return self.sizes.width(self.task, candidate, self.budget)

    def _job(
        self,
        stage: str,
        candidate: Candidate,
        rate: float,
        seed: int,
        width: int | None = None,
    ) -> Job:
        return Job(
            self.task.name,
            self.budget,
            self.task.steps * (self.plan.longer if stage == "confirm" else 1),
            stage,
            candidate.name,
            width or self._width(candidate),
            rate,
            seed,
        )
