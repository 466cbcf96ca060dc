"""Geometry of several objectives at once: fronts, volumes, knees, crowding.

Points are the rows of an array, one column per objective, and less is better in each:
negate what is to be maximized.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np


def non_dominated(points: Any) -> np.ndarray:
    """Which points no other one dominates, as booleans; False for what is not finite.

    A point dominates another if it is at least as good in every objective and better
    in one. Of equal points the first stays.

    Example:
    >>> non_dominated([[1, 3], [2, 2], [3, 3]]).tolist()
    [True, True, False]
    """
    points = _points(points)
    kept = np.isfinite(points).all(axis=1)
    # Sorted like words, a point stands behind all that dominate it.
    for i in np.lexsort(points.T[::-1]):
        if kept[i]:
            behind = (points >= points[i]).all(axis=1)
            behind[i] = False
            kept &= ~behind
    return kept


def fronts(points: Any) -> Iterator[np.ndarray]:
    """The indices of the front, of the front of what is left, and so on.

    Points that are not finite come last, together.
    """
    points = _points(points)
    left = np.arange(len(points))
    while len(left):
        is_front = non_dominated(points[left])
        if not is_front.any():
            is_front[:] = True
        yield left[is_front]
        left = left[~is_front]


def hypervolume(points: Any, reference: Any) -> float:
    """The volume between the points and a reference: the larger, the better a front.

    It is exact: the space is cut into slices along the last objective, and the volume
    of a slice is its thickness times the volume in one objective less ("hypervolume by
    slicing objectives": While et al., 2006, https://doi.org/10.1109/TEVC.2005.851275).
    Points that are not better than the reference in every objective add nothing.

    Example:
    >>> hypervolume([[1, 2], [2, 1]], reference=[3, 3])
    3.0
    """
    points = _points(points)
    reference = np.asarray(reference, dtype=float)
    if reference.shape != points.shape[1:] or not np.isfinite(reference).all():
        raise ValueError(
            "`reference` must have a finite number for each objective "
            f"({points.shape[1]}). Received: reference={reference.tolist()}"
        )
    inside = np.isfinite(points).all(axis=1) & (points < reference).all(axis=1)
    points = points[inside]
    return float(_volume(points[non_dominated(points)], reference))


def knee(points: Any) -> int:
    """The point of a front at which each further gain begins to cost much; its index.

    It is the point farthest from the line through the two ends of the front, each
    objective scaled to [0, 1] over the front (Das, 1999, "On characterizing the 'knee'
    of the Pareto curve", https://doi.org/10.1007/BF01195985). With more objectives the
    line becomes the plane that cuts each scaled axis at the same distance. Either way
    it is the point whose scaled objectives have the least sum; of equal ones the first.

    Example:
    >>> knee([[0, 10], [1, 2], [5, 1], [9, 0]])
    1
    """
    points = _points(points)
    indices = np.flatnonzero(non_dominated(points))
    if not len(indices):
        raise ValueError(
            "`points` must hold at least one finite point. "
            f"Received: points={points.tolist()}"
        )
    front = points[indices]
    extent = np.ptp(front, axis=0)
    scaled = (front - front.min(axis=0)) / np.where(extent > 0, extent, 1)
    return int(indices[np.argmin(scaled.sum(axis=1).round(12))])


def crowding(points: Any) -> np.ndarray:
    """How alone each point of a front is: the crowding distance of NSGA-II.

    The sum over the objectives of the distance between a point's two neighbors, each
    objective scaled to [0, 1] (Deb et al., 2002, https://doi.org/10.1109/4235.996017);
    infinite for the ends of each objective.

    Example:
    >>> crowding([[0, 4], [1, 1], [4, 0]]).tolist()
    [inf, 2.0, inf]
    """
    points = _points(points)
    distances = np.zeros(len(points))
    for values in points.T:
        order = np.argsort(values, kind="stable")
        ranked = values[order]
        extent = np.ptp(ranked) if len(ranked) else 0
        if extent > 0:
            distances[order[1:-1]] += (ranked[2:] - ranked[:-2]) / extent
        distances[order[[0, -1]] if len(order) else []] = np.inf
    return distances


def _volume(front: np.ndarray, reference: np.ndarray) -> float:
    if not len(front):
        return 0.0
    front = front[np.argsort(front[:, -1])]
    heights = front[:, -1]
    thickness = np.diff(heights, append=reference[-1])
    if len(reference) == 1:
        return thickness.sum()
    if len(reference) == 2:
        widths = reference[0] - np.minimum.accumulate(front[:, 0])
        return thickness @ widths
    # A slice holds the shadows of all points below it.
    return sum(
        thick * _volume(front[: i + 1, :-1], reference[:-1])
        for i, thick in enumerate(thickness)
        if thick > 0
    )


def _points(points: Any) -> np.ndarray:
    array = np.asarray(points, dtype=float)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(
            "`points` must be an array of shape (points, objectives) with at least one "
            f"objective. Received: points of shape {array.shape}"
        )
    return array
