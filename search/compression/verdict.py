"""Which file wins, and whether sharing earned it."""

import math
from collections.abc import Mapping, Sequence

from keras_share.search.compression.files import Finalist
from keras_share.search.compression.scores import Interval, Scores

BYTES = "exported_bytes"


def excess(costs: Mapping[str, float], limits: Mapping[str, float]) -> float:
    """By what factor it is over the limit that it exceeds most; 1 or less fits."""
    ratios = [costs.get(name, math.inf) / most for name, most in limits.items()]
    return max(ratios, default=0.0)


def overrun(costs: Mapping[str, float], limits: Mapping[str, float]) -> str:
    """What is over which limit, in words."""
    return ", ".join(
        f"{name} {costs[name]:,.6g} of at most {most:,.6g}"
        for name, most in limits.items()
        if costs.get(name, 0) > most
    )


def choose(
    finalists: Sequence[Finalist],
    original: Finalist,
    limits: Mapping[str, float],
    sign: int,
    tolerance: float,
) -> tuple[Finalist, str]:
    """The file to hand over, and why.

    Under limits it is the best of those that keep them, of equals the smaller. Without
    one it is the smallest that is worse than the original by no more than the
    tolerance. If there is none such, it is the nearest. A sign of 1 says that more of
    the score is better, -1 that less is.
    """
    if limits:
        fitting = [one for one in finalists if excess(one.costs, limits) <= 1]
        if not fitting:
            nearest = min(finalists, key=lambda one: excess(one.costs, limits))
            over = overrun(nearest.costs, limits)
            return nearest, f"No file keeps the budget; this one comes nearest: {over}."
        best = max(fitting, key=lambda one: (sign * one.score.value, -one.costs[BYTES]))
        return best, "The best of the files that keep the budget."
    kept = [
        one
        for one in finalists
        if sign * (one.score.value - original.score.value) >= -tolerance
    ]
    loses = f"at most {tolerance:g} of the original's score"
    if kept:
        smallest = min(kept, key=lambda one: one.costs[BYTES])
        return smallest, f"The smallest file that loses {loses}."
    best = max(finalists, key=lambda one: sign * one.score.value)
    return best, f"No file loses {loses}; this one loses least."


def earned(
    winner: Finalist,
    finalists: Sequence[Finalist],
    limits: Mapping[str, float],
    scores: Scores,
    sign: int,
) -> str:
    """One sentence on whether sharing earned it, against all that shares nothing.

    It did if each such file exceeds a limit, is significantly worse, or is larger and
    not significantly better.
    """
    rivals = [one for one in finalists if one.is_shared != winner.is_shared]
    if not winner.is_shared:
        if not rivals:
            return "Nothing that shares was among the finalists."
        rivals = [max(rivals, key=lambda one: sign * one.score.value)]
    pays, told = [], []
    for rival in rivals:
        gap = scores.difference(winner.predictions, rival.predictions)
        least, most = sorted((sign * gap.low, sign * gap.high))
        is_over = winner.is_shared and excess(rival.costs, limits) > 1
        is_smaller = winner.costs[BYTES] < rival.costs[BYTES]
        # Without a budget the winner was chosen as it is small and good enough.
        pays.append(is_over or least > 0 or (is_smaller and not (most < 0 and limits)))
        told.append(_compared(winner, rival, gap, scores.metric, is_over))
    word = "earned" if all(pays) else "can't be said to have earned"
    if not winner.is_shared:
        word = "did not earn"
    return f"Sharing {word} it: {'; '.join(told)}."


def _compared(
    one: Finalist, other: Finalist, gap: Interval, metric: str, is_over: bool
) -> str:
    ratio = one.costs[BYTES] / other.costs[BYTES]
    speed = one.costs["latency_ms"] / other.costs["latency_ms"]
    return (
        f"against {other.name} ({other.costs[BYTES]:,} bytes"
        f"{', over the budget' if is_over else ''}) it has {ratio:.2f} times "
        f"the bytes and {speed:.2f} times the latency, and {metric} differs by "
        f"{gap.value:+.4f} (95%: {gap.low:+.4f} to {gap.high:+.4f})"
    )
