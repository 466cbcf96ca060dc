"""The pictures of a report beside that of the front."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from keras_share.figures import BLUE, GRAY, ORANGE, PINK, VERMILION, tidy
from keras_share.search.reporting.effects import Effects, PairEffects

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

_ENDINGS = {
    "FAILED": (VERMILION, "x"),
    "REJECTED": (PINK, "|"),
    "PRUNED": (ORANGE, "v"),
}
_NUMBERED = 12  # sites; in more cells numbers would be too small to read
_LONGEST = 26  # letters of a name


def draw_pairs(ax: Axes, pairs: PairEffects, objective: str, direction: str) -> None:
    """A heat map: below the diagonal the effects, above it the numbers of trials."""
    num_sites = len(pairs.effects)
    numbered = num_sites <= _NUMBERED
    below = np.tril(np.ones((num_sites, num_sites), bool), -1)
    known = np.abs(pairs.effects[below & np.isfinite(pairs.effects)])
    limit = known.max(initial=0) or 1
    colors = "RdBu" if direction == "max" else "RdBu_r"
    image = ax.imshow(
        np.where(below, pairs.effects, np.nan),
        cmap=colors,
        norm=TwoSlopeNorm(0, -limit, limit),
    )
    ax.imshow(
        np.where(below.T, pairs.counts, np.nan),
        cmap="Greys",
        vmin=0,
        # Numbers must be seen on it.
        vmax=pairs.trials * 2.5 if numbered else np.nanmax(pairs.counts, initial=1),
    )
    if numbered:
        _write_numbers(ax, pairs, below, limit)
    ticks = range(0, num_sites, max(1, num_sites // 12))
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("site")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.75)
    bar.set_label(f"effect on {cut(objective)}; blue is better")
    ax.set_title(
        f"{cut(pairs.name)}: which sites like to share\n"
        "below: effect of sharing; above: trials in which they share\n"
        f"{_trust(pairs)}",
        loc="left",
    )


def draw_importance(ax: Axes, effects: Effects) -> None:
    """A bar for each hyperparameter; patterns have a color of their own."""
    shown = list(effects.importance.items())[:15][::-1]
    patterns = {pairs.name for pairs in effects.pairs}
    ax.barh(
        [cut(name) for name, _ in shown],
        [lost for _, lost in shown],
        color=[ORANGE if name in patterns else BLUE for name, _ in shown],
        height=0.6,
    )
    ax.axvline(0, color="0.3", lw=0.8)
    ax.set_xlabel("variance of the score not predicted without it")
    tidy(ax, grid="x")
    ax.set_title(
        "What matters\npredicts "
        f"{max(effects.explained, 0):.0%} of the variance in trials left out",
        loc="left",
    )


def draw_scores(ax: Axes, results: "SearchResults") -> None:
    """The score of each trial, the best so far, and the trials without a score."""
    records = sorted(results.records, key=lambda record: record.ended or 0)
    scores = np.array([r.score if r.is_completed else None for r in records], float)
    scores[~np.isfinite(scores)] = np.nan
    best = np.fmax if results.direction == "max" else np.fmin
    trials = np.arange(1, len(records) + 1)
    ax.scatter(trials, scores, s=14, color=GRAY, label="trial")
    so_far = best.accumulate(scores)
    ax.step(trials, so_far, where="post", color=BLUE, label="best so far")
    for status, (color, mark) in _ENDINGS.items():
        there = trials[[record.status == status for record in records]]
        if len(there):
            # In parts of the axes' height, so that no score is hidden.
            style: dict[str, Any] = {"marker": mark, "color": color, "s": 22}
            height, across = np.full(len(there), 0.03), ax.get_xaxis_transform()
            ax.scatter(there, height, transform=across, label=status.lower(), **style)
    ax.set_ylabel(cut(results.objective))
    above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1)}
    above |= {"columnspacing": 0.9, "handlelength": 1.3, "handletextpad": 0.4}
    ax.legend(frameon=False, ncols=5, **above)
    ax.set_xlabel("trials")
    ax.set_xlim(0, len(records) + 1)
    ax.locator_params(axis="x", integer=True)
    tidy(ax)


def cut(name: str, longest: int = _LONGEST) -> str:
    """A name that leaves room for the picture."""
    name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return name if len(name) <= longest else f"{name[: longest - 3]}..."


def _trust(pairs: PairEffects) -> str:
    if pairs.explained < 0.05:
        return f"no better than chance in unseen trials (of {pairs.trials})"
    return (
        f"explains {pairs.explained:.0%} of what all else leaves open "
        f"in unseen trials (of {pairs.trials})"
    )


def _write_numbers(
    ax: Axes, pairs: PairEffects, below: np.ndarray, limit: float
) -> None:
    # Two digits of the largest effect.
    digits = min(max(0, 1 - math.floor(math.log10(limit))), 6)
    size = 7.5 if len(below) <= 8 else 5
    for y, x in np.argwhere(below):
        effect = pairs.effects[y, x]
        text = "?" if np.isnan(effect) else f"{round(effect, digits) + 0:+.{digits}f}"
        dark = abs(effect) > 0.6 * limit
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size}
        ax.text(x, y, text, color="white" if dark else "black", **style)
        ax.text(y, x, f"{pairs.counts[y, x]:.0f}", color="0.35", **style)
