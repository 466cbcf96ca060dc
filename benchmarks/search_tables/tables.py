"""The tables, to replay searches on: what a trial of any pattern would have seen."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from keras_share import SharingPattern
from keras_share.search.pareto import hypervolume

from .network import NUM_SITES

FOLDER = Path(__file__).parent
METRICS = {"val_accuracy": "seed_", "val_loss": "loss_"}


def load(name: str) -> pd.DataFrame:
    """A table, one row for each of the 203 patterns of six sites.

    Args:
        name: `"digits"` or `"spoken"`.

    Returns:
        A frame with the columns `pattern`, `num_groups`, `parameters`,
        `exported_bytes`, and for each seed `seed_0` (validation accuracy), `loss_0`
        (validation cross-entropy), `tenth_0` and `tenth_loss_0` (both after the first
        tenth of the steps), and so on.
    """
    return pd.read_csv(FOLDER / f"{name}.csv")


@dataclass
class Table:
    """A table that a search is replayed on.

    Make one for each search: a pattern's draws are without replacement, until all its
    seeds were drawn.

    Args:
        name: `"digits"` or `"spoken"`.
        metric: `"val_accuracy"` or `"val_loss"`.
    """

    num_sites: ClassVar[int] = NUM_SITES
    name: str
    metric: str = "val_accuracy"
    frame: pd.DataFrame = field(init=False, repr=False)
    scores: pd.DataFrame = field(init=False, repr=False)

    def __post_init__(self):
        self.frame = load(self.name).set_index("pattern")
        self.scores = seeds_of(self.frame, self.metric)
        self._left: dict[str, list[int]] = {}
        means = self.scores.mean(axis=1)
        self._ranks = means.rank(ascending=self.metric == "val_loss", method="min")

    @cached_property
    def truth(self) -> pd.Series:
        """Mean over seeds, by pattern."""
        return self.scores.mean(axis=1)

    def draw(self, pattern: SharingPattern | str, rng: np.random.Generator) -> float:
        """The score of one seed, as a trial of `pattern` would see it."""
        pattern = str(pattern)
        if not self._left.get(pattern):
            self._left[pattern] = list(rng.permutation(self.scores.shape[1]))
        return float(self.scores.loc[pattern].iloc[self._left[pattern].pop()])

    def rank(self, pattern: SharingPattern | str) -> int:
        """Place of `pattern` by truth; 1 is the best."""
        return int(self._ranks[str(pattern)])

    def bytes(self, pattern: SharingPattern | str) -> int:
        """Size of its exported file."""
        return int(self.frame.exported_bytes[str(pattern)])

    def point(self, pattern: SharingPattern | str) -> tuple[float, float]:
        """Error and size of a pattern, less is better."""
        return 1 - self.truth[str(pattern)], self.bytes(pattern)

    @cached_property
    def extent(self) -> tuple[np.ndarray, float]:
        """The worst error and size that count, and the hypervolume of all patterns."""
        points = np.array([self.point(p) for p in self.truth.index])
        worst = points.max(axis=0) * 1.001
        return worst, hypervolume(points, worst)


def seeds_of(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The columns of a metric, one for each seed."""
    return frame.filter(regex=f"^{METRICS[metric]}\\d+$")
