"""How much of the tables is signal: the spread of patterns against that of seeds."""

import numpy as np
import pandas as pd
from scipy import stats

from search_tables.tables import METRICS, load, seeds_of

TABLES = ("digits", "spoken")
SPLITS = 100


def components(frame: pd.DataFrame, metric: str) -> dict[str, float]:
    """Variance components of a metric, and what rankings can reach.

    Args:
        frame: A table.
        metric: `"val_accuracy"` or `"val_loss"`.

    Returns:
        Standard deviations of the true means between patterns, of those between
        patterns of one number of groups, and between seeds of one pattern; the
        probability of differences as large between patterns of one number of groups
        if which sites share made none (F-test); and rank correlations: of the mean
        with that of as many new seeds, of the mean with the true mean, and of one seed
        with the true mean (Kendall, from the correlation under a normal law).
    """
    scores = seeds_of(frame, metric)
    count = scores.shape[1]
    seeds = scores.var(axis=1, ddof=1).mean()
    means = scores.mean(axis=1)
    patterns = max(means.var(ddof=1) - seeds / count, 0)
    centered = means - means.groupby(frame.num_groups).transform("mean")
    freedom = len(means) - frame.num_groups.nunique()
    alike = (centered**2).sum() / freedom
    return {
        "mean": means.mean(),
        "sd_patterns": patterns**0.5,
        "sd_same_groups": max(alike - seeds / count, 0) ** 0.5,
        "sd_seeds": seeds**0.5,
        "signal_to_noise": (patterns / seeds) ** 0.5,
        "p_same_groups": stats.f.sf(
            count * alike / seeds, freedom, len(means) * (count - 1)
        ),
        "spearman_rerun": split_halves(scores),
        "tau_rerun": kendall(patterns / (patterns + seeds / count)),
        "tau_mean": kendall((patterns / (patterns + seeds / count)) ** 0.5),
        "tau_one_seed": kendall((patterns / (patterns + seeds)) ** 0.5),
    }


def split_halves(scores: pd.DataFrame) -> float:
    """Spearman correlation of the mean with that of as many new seeds.

    From random halves of the seeds, prolonged by the formula of Spearman and Brown.
    """
    rng = np.random.default_rng(0)
    half = scores.shape[1] // 2
    found = []
    for _ in range(SPLITS):
        order = rng.permutation(scores.shape[1])
        halves = (order[:half], order[half : 2 * half])
        a, b = (scores.iloc[:, chosen].mean(axis=1) for chosen in halves)
        found.append(stats.spearmanr(a, b).statistic)
    mean = np.mean(found)
    longer = scores.shape[1] / half
    return longer * mean / (1 + (longer - 1) * mean)


def kendall(correlation: float) -> float:
    """Kendall's tau of two normal variables of a correlation."""
    return 2 / np.pi * np.arcsin(correlation)


def report() -> str:
    """The components of both tables as a Markdown table."""
    lines = [
        "| table | score | seeds | mean | sd between patterns | of the same number of "
        "groups (p) | sd between seeds | signal to noise | re-run: Spearman, tau "
        "| true mean: tau | one seed: tau |",
        "|" + "---|" * 11,
    ]
    for name in TABLES:
        frame = load(name)
        for metric in METRICS:
            c = components(frame, metric)
            p = c["p_same_groups"]
            p = f"{p:.0e}" if p > 1e-99 else "< 1e-99"
            lines.append(
                f"| {name} | {metric} | {seeds_of(frame, metric).shape[1]} "
                f"| {c['mean']:.4f} | {c['sd_patterns']:.4f} "
                f"| {c['sd_same_groups']:.4f} ({p}) "
                f"| {c['sd_seeds']:.4f} | {c['signal_to_noise']:.2f} "
                f"| {c['spearman_rerun']:.2f}, {c['tau_rerun']:.2f} "
                f"| {c['tau_mean']:.2f} | {c['tau_one_seed']:.2f} |"
            )
    return "\n".join(lines)
