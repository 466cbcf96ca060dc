"""Kendall's tau of cheap scores with the mean of full trainings."""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from keras_share import SharingPattern
from keras_share.retrofit import closest_pattern
from search_tables.network import NUM_SITES
from search_tables.signals import SIGNALS
from search_tables.tables import FOLDER, METRICS, load, seeds_of

_SUGGESTED = (
    "{}: what `closest_pattern` suggests for two to five groups is better than {:.0%} "
    "of the patterns of as many groups."
)


def taus(table: str) -> pd.DataFrame:
    """Kendall's tau of every signal with the mean of full trainings.

    Returns:
        For each signal its `cost`, a part of a full training's steps, and for accuracy
        and loss, each with its own mean of full training, tau of one draw, averaged
        over draws: among all patterns, and among those of one number of groups.
    """
    frame = load(table)
    cheap = pd.read_csv(FOLDER / f"{table}_cheap.csv")
    groups = frame[["num_groups"]]
    rows = [_row("num_groups", 0, frame, {metric: groups for metric in METRICS})]
    for start in ("apart", "alike"):
        near = -cheap.filter(regex=f"^{start}_error_")
        name = f"{start}: merge error"
        rows.append(_row(name, 0, frame, {metric: near for metric in METRICS}))
    changes = cheap.filter(regex="^change_")
    for name, costs in (
        ("change of outputs", changes),
        ("change of outputs, by pairs", changes.apply(by_pairs, pattern=cheap.pattern)),
    ):
        rows.append(_row(name, 0, frame, {metric: -costs for metric in METRICS}))
    for name, signal in SIGNALS.items():
        scores = {
            metric: _oriented(cheap.filter(regex=rf"^{name}_{prefix}\d+$"), metric)
            for metric, prefix in METRICS.items()
        }
        rows.append(_row(name, signal.part, frame, scores))
    firsts = {"val_accuracy": "tenth_", "val_loss": "tenth_loss_"}
    scores = {
        metric: _oriented(frame.filter(regex=rf"^{prefix}\d+$"), metric)
        for metric, prefix in firsts.items()
    }
    rows.append(_row("first tenth", 0.1, frame, scores))
    return pd.DataFrame(rows)


def suggested(table: str) -> float:
    """The share of patterns that are worse than what `closest_pattern` suggests.

    Of those of as many groups, by the mean accuracy of full trainings; the mean of two
    to five groups, and of draws.
    """
    frame = load(table).set_index("pattern")
    truth = seeds_of(frame, "val_accuracy").mean(axis=1)
    cheap = pd.read_csv(FOLDER / f"{table}_cheap.csv")
    found = []
    for _, changes in cheap.filter(regex="^change_").items():
        alone = _alone(changes, cheap.pattern)
        pairs = [("table", *pair, change) for pair, change in alone.items()]
        signals = pd.DataFrame(pairs, columns=["kind", "site", "other", "change"])
        for groups in range(2, NUM_SITES):
            pattern = str(closest_pattern(signals, "table", groups))
            equals = truth[frame.num_groups == groups]
            found.append((equals < equals[pattern]).sum() / (len(equals) - 1))
    return float(np.mean(found))


def by_pairs(changes: pd.Series, pattern: pd.Series) -> list[float]:
    """What patterns cost by what their pairs alone do, as `sharing_signals` tells.

    A site costs the mean of its pairs with the others of its group.
    """
    alone = _alone(changes, pattern)
    return [
        sum(
            2 / len(group) * alone[pair]
            for group in SharingPattern(name).groups
            for pair in combinations(group, 2)
        )
        for name in pattern
    ]


def _alone(changes: pd.Series, pattern: pd.Series) -> dict[tuple[int, ...], float]:
    """What each pair changes where no other sites share."""
    of = dict(zip(pattern, changes, strict=True))
    unshared = SharingPattern.unshared(NUM_SITES)
    pairs = combinations(range(NUM_SITES), 2)
    return {pair: of[str(unshared.merge(*pair))] for pair in pairs}


def _oriented(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    return -scores if metric == "val_loss" else scores  # more is better


def _row(
    name: str, cost: float, frame: pd.DataFrame, scores: dict[str, pd.DataFrame]
) -> dict:
    row = {"signal": name, "cost": cost}
    groups = frame.groupby("num_groups").groups.values()
    groups = [rows for rows in groups if len(rows) > 1]
    pairs = [len(rows) * (len(rows) - 1) / 2 for rows in groups]
    for metric, draws in scores.items():
        truth = _oriented(seeds_of(frame, metric), metric).mean(axis=1)
        columns = [draws[column] for column in draws]
        within = [[_tau(c[rows], truth[rows]) for rows in groups] for c in columns]
        row[metric] = np.mean([_tau(column, truth) for column in columns])
        row[f"{metric}, same groups"] = np.average(
            np.mean(within, axis=0), weights=pairs
        )
    return row


def _tau(a: pd.Series, b: pd.Series) -> float:
    tau = stats.kendalltau(a, b).statistic
    return 0.0 if np.isnan(tau) else tau  # all equal


def report() -> str:
    """The taus of both tables in Markdown."""
    lines = []
    for table in ("digits", "spoken"):
        frame = taus(table)
        lines += [f"| {table} | cost | " + " | ".join(frame.columns[2:]) + " |"]
        lines += ["|---|---|" + "---|" * (len(frame.columns) - 2)]
        for signal, cost, *found in frame.itertuples(index=False):
            shown = " | ".join(f"{tau:.2f}" for tau in found)
            lines.append(f"| {signal} | {cost:g} | {shown} |")
        lines += ["", _SUGGESTED.format(table, suggested(table)), ""]
    return "\n".join(lines).strip()
