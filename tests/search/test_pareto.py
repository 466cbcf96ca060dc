"""Fronts, volumes, knees and crowding, against definitions written out."""

import itertools
import math

import numpy as np
import pytest

from keras_share.search import pareto

# Few different values, so that ties of all kinds occur.
CASES = [(seed, n, m) for seed in range(4) for n in (1, 2, 7, 12) for m in (1, 2, 3, 4)]


def drawn(seed, n, m):
    return np.random.default_rng(seed).integers(0, 6, (n, m)).astype(float)


@pytest.mark.parametrize("seed, n, m", CASES)
def test_non_dominated(seed, n, m):
    points = drawn(seed, n, m)

    def beaten(i):
        return any(
            (points[j] <= points[i]).all() and ((points[j] < points[i]).any() or j < i)
            for j in range(n)
            if j != i
        )

    expected = [not beaten(i) for i in range(n)]
    assert pareto.non_dominated(points).tolist() == expected


def test_what_is_not_finite_is_not_of_the_front():
    points = [[np.nan, 0], [-np.inf, 0], [1, np.inf], [2, 2], [3, 3]]
    assert pareto.non_dominated(points).tolist() == [False] * 3 + [True, False]
    assert pareto.hypervolume(points, [4, 4]) == 4
    assert pareto.knee(points) == 3


@pytest.mark.parametrize("seed, n, m", CASES)
def test_hypervolume_counts_the_cells_of_a_grid(seed, n, m):
    points, reference = drawn(seed, n, m), np.full(m, 5)
    cells = np.array(list(itertools.product(range(5), repeat=m)))
    covered = (cells[:, None] >= points[None]).all(axis=2).any(axis=1)
    assert pareto.hypervolume(points, reference) == covered.sum()


@pytest.mark.parametrize("m", [2, 3, 4, 5])
def test_hypervolume_by_inclusion_and_exclusion(m):
    points = np.random.default_rng(m).random((8, m))
    reference = np.full(m, 0.9)
    expected = 0.0
    for size in range(1, len(points) + 1):
        for chosen in itertools.combinations(points, size):
            corner = np.max(chosen, axis=0)
            expected -= (-1) ** size * np.prod(np.clip(reference - corner, 0, None))
    assert pareto.hypervolume(points, reference) == pytest.approx(expected)


def test_hypervolume_of_nothing():
    assert pareto.hypervolume(np.empty((0, 2)), [1, 1]) == 0
    assert pareto.hypervolume([[1, 0], [2, 2]], [1, 1]) == 0


def test_knee_is_farthest_from_the_line_through_the_ends():
    for seed in range(20):
        points = np.random.default_rng(seed).random((12, 2))
        points[:, 1] -= 2 * points[:, 0]
        front = points[pareto.non_dominated(points)]
        scaled = (front - front.min(axis=0)) / np.ptp(front, axis=0)
        low, high = scaled[np.argsort(scaled[:, 0])[[0, -1]]]
        along = (high - low) / np.linalg.norm(high - low)
        away = (scaled - low) - np.outer((scaled - low) @ along, along)
        # Only those on the side of the origin count.
        distance = np.linalg.norm(away, axis=1) * np.sign(1 - scaled.sum(axis=1))
        expected = front[np.argmax(distance.round(9))]
        np.testing.assert_array_equal(points[pareto.knee(points)], expected)


def test_knee_of_few_points_and_of_more_objectives():
    assert pareto.knee([[3, 3]]) == 0
    assert pareto.knee([[1, 2], [2, 1]]) == 0
    assert pareto.knee([[9, 9], [1, 5]]) == 1
    assert pareto.knee([[0, 9, 9], [9, 0, 9], [2, 2, 2], [9, 9, 0]]) == 2
    # An objective in which all are equal decides nothing.
    assert pareto.knee([[0, 9, 7], [1, 1, 7], [9, 0, 7]]) == 1


def test_crowding():
    points = [[0, 10], [1, 6], [4, 5], [10, 0]]
    expected = [math.inf, 4 / 10 + 5 / 10, 9 / 10 + 6 / 10, math.inf]
    np.testing.assert_allclose(pareto.crowding(points), expected)
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(
        pareto.crowding(np.array(points)[order]), np.array(expected)[order]
    )
    assert pareto.crowding([[1, 2]]).tolist() == [math.inf]
    assert pareto.crowding(np.empty((0, 2))).tolist() == []
    assert np.isinf(pareto.crowding([[1, 1]] * 3)).sum() == 2


def test_fronts_are_peeled_off():
    points = np.random.default_rng(0).integers(0, 9, (60, 2)).astype(float)
    points[7] = np.nan
    found = list(pareto.fronts(points))
    assert sorted(i for front in found for i in front) == list(range(60))
    assert found[-1].tolist() == [7]
    for better, worse in itertools.pairwise(found[:-1]):
        assert pareto.non_dominated(points[better]).all()
        for i in worse:
            assert any((points[j] <= points[i]).all() for j in better)
    assert list(pareto.fronts(np.empty((0, 2)))) == []


def test_errors():
    for function in (pareto.non_dominated, pareto.knee, pareto.crowding):
        with pytest.raises(ValueError, match=r"Received: points of shape \(3,\)"):
            function([1, 2, 3])
    with pytest.raises(ValueError, match=r"number for each objective \(2\)"):
        pareto.hypervolume([[1, 2]], [3])
    with pytest.raises(ValueError, match="finite number for each objective"):
        pareto.hypervolume([[1, 2]], [3, np.inf])
    with pytest.raises(ValueError, match="at least one finite point"):
        pareto.knee([[np.nan, 1]])
