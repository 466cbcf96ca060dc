"""Which file wins, and whether sharing earned it."""

import math
from collections.abc import Mapping, Sequence

from keras_share.search.compression.files import Finalist
from keras_share.search.compression.scores import Scores

BYTES = "exported_bytes"


def excess(costs: Mapping[str, float], limits: Mapping[str, float]) -> float:
    """By what factor it is over the limit that it exceeds most; 1 or less fits."""
    ratios = [costs.get(name, math.inf) / most for name, most in limits.items()]
    return max(ratios, default=0.0)


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
    tolerance. If there is none such, it is the nearest.

    Args:
        finalists: The files to choose from.
        original: The file of the original.
        limits: The most that each cost may be, by its name.
        sign: 1 if more of the score is better, else -1.
        tolerance: By how much a score may be worse than the original's.
    """
    if limits:
        fitting = [one for one in finalists if excess(one.costs, limits) <= 1]
        if not fitting:
            nearest = min(finalists, key=lambda one: excess(one.costs, limits))
            over = ", ".join(
                f"{name} {nearest.costs[name]:,.6g} of at most {most:,.6g}"
                for name, most in limits.items()
                if nearest.costs[name] > most
            )
            return nearest, f"No file keeps the budget; this one comes nearest: {over}."
        best = max(fitting, key=lambda one: (sign * one.score.value, -one.costs[BYTES]))
        return best, "The best of the files that keep the budget."
    kept = [
        one
        for one in finalists
        if sign * (one.score.value - original.score.value) >= -tolerance
    ]
    if kept:
        smallest = min(kept, key=lambda one: one.costs[BYTES])
        return smallest, (
            f"The smallest file that loses at most {tolerance:g} of the original's "
            "score."
        )
    best = max(finalists, key=lambda one: sign * one.score.value)
    return best, (
        f"No file loses at most {tolerance:g} of the original's score; this one loses "
        "least."
    )


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
    plain = [one for one in finalists if not one.is_shared]
    if not winner.is_shared:
        shared = [one for one in finalists if one.is_shared]
        if not shared:
            return "Nothing that shares was among the finalists."
        rival = max(shared, key=lambda one: sign * one.score.value)
        return f"Sharing did not earn it: {_compared(winner, rival, scores)}."
    word = "earned"
    for rival in plain:
        gap = scores.difference(winner.predictions, rival.predictions)
        is_better = min(sign * gap.low, sign * gap.high) > 0
        is_worse = max(sign * gap.low, sign * gap.high) < 0
        # Without a budget the winner was chosen as it is small and good enough.
        pays = winner.costs[BYTES] < rival.costs[BYTES] and not (is_worse and limits)
        if excess(rival.costs, limits) <= 1 and not is_better and not pays:
            word = "can't be said to have earned"
    told = [
        _compared(winner, rival, scores, excess(rival.costs, limits) > 1)
        for rival in plain
    ]
    return f"Sharing {word} it: {'; '.join(told)}."


def _compared(
    one: Finalist, other: Finalist, scores: Scores, is_over: bool = False
) -> str:
    gap = scores.difference(one.predictions, other.predictions)
    ratio = one.costs[BYTES] / other.costs[BYTES]
    speed = one.costs["latency_ms"] / other.costs["latency_ms"]
    return (
        f"against {other.name} ({other.costs[BYTES]:,} bytes"
        f"{', over the budget' if is_over else ''}) it has {ratio:.2f} times "
        f"the bytes and {speed:.2f} times the latency, and {scores.metric} differs by "
        f"{gap.value:+.4f} (95%: {gap.low:+.4f} to {gap.high:+.4f})"
    )
