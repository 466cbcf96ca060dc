"""What an earlier search is worth to a new one.

    python benchmarks/search_warm_start.py [--seeds 12]

Replays `SharingSearch` on the tables of `benchmarks/search_tables`, with and without
the 25 trials of an earlier search: of the same table, as when a search is made again
with other seeds, and of the other one, as when the task is another. Prints the rank (1
is the best of 203) of the best pattern tried, and Kendall's tau of what the surrogate
predicts from the earlier search alone with the truth, over all patterns.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from dataclasses import replace

import numpy as np
import pandas as pd
from optuna.distributions import IntDistribution
from rich.progress import track
from scipy.stats import kendalltau
from search_tables.tables import Table

from keras_share import SharingPattern
from keras_share.search.policies import (
    Observation,
    Problem,
    SurrogatePolicy,
    ValueSpace,
)
from keras_share.search.policies.surrogate import Surrogate
from keras_share.search.space import numbering
from keras_share.search.space.pattern_space import PatternSpace

TRIALS = 25
MARKS = (5, 10, 25)


def search(
    space: ValueSpace, table: Table, earlier: list[Observation], seed: int
) -> list[Observation]:
    """The trials of a search for accuracy."""
    policy, rng = SurrogatePolicy(), np.random.default_rng(seed)
    own: list[Observation] = []
    for trial in range(TRIALS):
        point = policy.propose(Problem(space, [*earlier, *own]), f"{seed}/{trial}")
        own.append(Observation(point, (-table.draw(point["sharing"], rng),)))
    return own


def agreement(space: ValueSpace, earlier: list[Observation], table: Table) -> float:
    """Tau of what an earlier search predicts with the truth of a table."""
    patterns = [{"sharing": SharingPattern(p)} for p in table.truth.index]
    known, others = (
        np.pad(space.vectors(points), [(0, 0), (0, 1)])
        for points in ([o.point for o in earlier], patterns)
    )
    surrogate = Surrogate(space.blocks)
    surrogate.fit(known, [o.scores[0] for o in earlier])
    return kendalltau(-surrogate.predict(others)[0], table.truth.to_numpy())[0]


def main() -> None:
    """Replays all pairs of tables and prints the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12)
    options = parser.parse_args()

    patterns = PatternSpace(6)
    ranges = numbering.ranges("sharing", patterns)
    space = ValueSpace(
        {name: IntDistribution(0, most) for name, most in ranges.items()},
        {"sharing": patterns},
    )
    rows = []
    for seed in track(range(options.seeds), "seeds"):
        for name in ("digits", "spoken"):
            for before in (None, "digits", "spoken"):
                table, earlier, tau = Table(name), [], np.nan
                if before is not None:
                    trials = search(space, Table(before), [], 1000 + seed)
                    earlier = [replace(o, is_earlier=True) for o in trials]
                    tau = agreement(space, earlier, table)
                found = search(space, table, earlier, seed)
                ranks = [table.rank(o.point["sharing"]) for o in found]
                best = np.minimum.accumulate(ranks)
                rows.append(
                    {"search": name, "earlier": before or "none", "tau": tau}
                    | {f"rank after {mark}": best[mark - 1] for mark in MARKS}
                )
    means = pd.DataFrame(rows).groupby(["search", "earlier"]).mean()
    print(means.round(2).to_string())


if __name__ == "__main__":
    main()
