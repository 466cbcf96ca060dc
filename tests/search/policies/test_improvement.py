"""Expected improvement: against closed forms and brute force."""

import numpy as np
import pytest
from scipy.stats import norm

from keras_share.search.pareto import hypervolume
from keras_share.search.policies.improvement import expected_improvement

RNG = np.random.default_rng(0)


def test_one_objective_is_the_closed_form():
    known = np.array([[3.0], [5.0], [4.0]])
    means = np.linspace(1, 6, 11)[:, None]
    deviations = np.full((11, 1), 0.8)
    found = expected_improvement(means, deviations, known)
    z = (3 - means[:, 0]) / 0.8
    expected = 0.8 * (z * norm.cdf(z) + norm.pdf(z))
    assert np.corrcoef(found, expected)[0, 1] > 0.999
    assert (np.diff(found) <= 0).all()


@pytest.mark.parametrize("num_objectives", [2, 3])
def test_certain_candidates_are_ordered_by_the_hypervolume_they_add(num_objectives):
    known = RNG.uniform(0.3, 1, size=(6, num_objectives))
    means = RNG.uniform(0, 1, size=(40, num_objectives))
    found = expected_improvement(means, np.full_like(means, 1e-9), known)
    front = known[[not (known < k).all(axis=1).any() for k in known]]
    best, worst = front.min(axis=0), front.max(axis=0)
    reference = worst + 0.1 * (worst - best)

    def scaled(points):
        return (points - best) / (reference - best)

    before = hypervolume(scaled(known), np.ones(num_objectives))
    added = [
        hypervolume(scaled(np.vstack([known, point])), np.ones(num_objectives)) - before
        for point in means
    ]
    assert np.corrcoef(found, added)[0, 1] > 0.98
    assert (found[np.array(added) == 0] < 0.02 * found.max()).all()


def test_expectation_over_predictions_is_that_of_a_large_sample():
    known = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    means = RNG.uniform(0.5, 3, size=(25, 2))
    deviations = RNG.uniform(0.05, 1, size=(25, 2))
    found = expected_improvement(means, deviations, known)
    reference = np.array([3.2, 3.2])
    before = hypervolume(known, reference)
    sampled = [
        np.mean(
            [
                hypervolume(np.vstack([known, point]), reference) - before
                for point in mean + deviation * RNG.normal(size=(400, 2))
            ]
        )
        for mean, deviation in zip(means, deviations, strict=True)
    ]
    assert np.corrcoef(found, sampled)[0, 1] > 0.97


def test_units_do_not_matter():
    known = RNG.uniform(size=(5, 2))
    means, deviations = RNG.uniform(size=(9, 2)), RNG.uniform(0.1, 0.2, size=(9, 2))
    scale, shift = np.array([1e5, 1e-3]), np.array([4e5, -1])
    np.testing.assert_allclose(
        expected_improvement(means, deviations, known),
        expected_improvement(
            means * scale + shift, deviations * scale, known * scale + shift
        ),
    )


@pytest.mark.parametrize("known", [[[1.0, 2.0]], [[1.0, 2.0], [1.0, 2.0]]])
def test_front_of_one_point(known):
    found = expected_improvement(
        np.array([[0.5, 1.5], [1.5, 2.5]]), np.full((2, 2), 0.01), np.array(known)
    )
    assert found[0] > found[1] >= 0
