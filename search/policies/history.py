"""What a policy knows when it is asked for the next trial."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from keras_share.search.policies.values import Point, ValueSpace


@dataclass(frozen=True)
class Observation:
    """One trial.

    Args:
        point: What was tried; empty while that is still to be chosen.
        scores: The objectives, less is better; None while they are unknown, as of a
            trial that runs or failed.
        measures: What a limit may be set on, as far as it is known.
        is_running: Whether scores are still to come.
        is_earlier: Whether it belongs to an earlier search: it may be tried again.
        is_pruned: Whether it was stopped early: its scores would have become better.
    """

    point: Point
    scores: tuple[float, ...] | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    is_running: bool = False
    is_earlier: bool = False
    is_pruned: bool = False


@dataclass(frozen=True)
class Problem:
    """A search so far.

    Args:
        space: What may be tried.
        observations: All trials, in the order in which they began.
        num_objectives: Number of scores of a trial.
        limits: The most that measures may be, by their names.
        exact: The objectives, by number, and limits, by name, that are of sizes:
            another training would bring the same.
    """

    space: ValueSpace
    observations: Sequence[Observation]
    num_objectives: int = 1
    limits: Mapping[str, float] = field(default_factory=dict)
    exact: Collection[int | str] = ()

    @property
    def scored(self) -> list[Observation]:
        """The trials whose scores are known."""
        return [o for o in self.observations if o.scores is not None]

    @property
    def running(self) -> list[Observation]:
        """The trials whose scores are to come."""
        return [o for o in self.observations if o.is_running]

    def tried(self) -> set[Hashable]:
        """The keys of all points that this search must not try again."""
        return {self.space.key(o.point) for o in self.observations if not o.is_earlier}

    def scores(self) -> np.ndarray:
        """The scores of `scored`, of shape `(n, num_objectives)`."""
        rows = [o.scores for o in self.scored]
        return np.array(rows, float).reshape(len(rows), self.num_objectives)

    def is_within(self, observation: Observation) -> bool:
        """Whether no limit is known to be exceeded."""
        return all(
            observation.measures.get(name, -np.inf) <= limit
            for name, limit in self.limits.items()
        )
